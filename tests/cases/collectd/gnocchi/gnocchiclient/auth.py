"""Stands for the module."""


class GnocchiBasicPlugin:
    def __init__(self, user, endpoint):
        assert (user, endpoint) == ("admin", "http://127.0.0.1:1/")
