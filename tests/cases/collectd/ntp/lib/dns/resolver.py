"""Answers for each name with three addresses."""

import types


def query(name, kind):
    """Returns what the plugin looks at."""
    items = [types.SimpleNamespace(address=f"192.0.2.{number}") for number in (1, 2, 3)]
    return types.SimpleNamespace(response=types.SimpleNamespace(answer=[types.SimpleNamespace(items=items)]))
