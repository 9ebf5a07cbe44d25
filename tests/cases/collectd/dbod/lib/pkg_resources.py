"""Stands for a part of setuptools."""


def parse_version(text):
    """Returns what can be compared."""
    return [int(part) for part in text.split(".")[:2]]
