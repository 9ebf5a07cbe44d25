"""Tests of netdata's dialect; a package, for `conftest` is a name of the folder above."""
