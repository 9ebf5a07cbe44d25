"""Stands for the module."""


class VersionInfo:
    def __init__(self, package):
        self.package = package

    def release_string(self):
        return "0.7.0"
