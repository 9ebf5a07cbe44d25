"""Stands for the module."""


class Session:
    def __init__(self, auth):
        self.auth = auth
