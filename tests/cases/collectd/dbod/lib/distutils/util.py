"""Stands for what newer Pythons have no more."""


def strtobool(text):
    """Returns 1 or 0."""
    return int(text.lower() in ("y", "yes", "t", "true", "on", "1"))
