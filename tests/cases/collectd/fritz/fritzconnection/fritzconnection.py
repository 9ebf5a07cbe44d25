"""Stands for the module."""

FRITZ_IP_ADDRESS = "169.254.1.1"
FRITZ_TCP_PORT = 49000
FRITZ_USERNAME = "dslf-config"
