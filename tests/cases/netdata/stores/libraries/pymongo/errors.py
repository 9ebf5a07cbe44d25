"""What goes wrong with MongoDB."""


class PyMongoError(Exception):
    """The server does not answer, or refuses."""
