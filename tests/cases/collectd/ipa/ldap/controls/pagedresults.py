"""Stands for the module."""


class SimplePagedResultsControl:
    def __init__(self, criticality, size, cookie):
        self.criticality, self.size, self.cookie = criticality, size, cookie
