"""The package that netdata's python.d modules import, written anew for pythond."""
