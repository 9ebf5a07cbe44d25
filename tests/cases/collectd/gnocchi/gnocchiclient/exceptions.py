"""Stands for the module."""


class ConnectionFailure(Exception):
    pass


class BadRequest(Exception):
    pass


class ResourceTypeNotFound(Exception):
    pass


class ResourceTypeAlreadyExists(Exception):
    pass


class ResourceAlreadyExists(Exception):
    pass
