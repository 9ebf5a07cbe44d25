"""YAML as modules read it: the safe loader, mappings in the order of the text."""

from __future__ import annotations

from typing import Any

from pythond.dialects.netdata import marked

__all__ = ("load_config", "load_yaml")


def load_yaml(stream: Any) -> Any:
    """Returns what a text or an open file says. Raises `yaml.YAMLError`."""
    return marked.load(stream.read() if hasattr(stream, "read") else stream)


def load_config(path: str) -> Any:
    """Returns what a file says. Raises `OSError` and `yaml.YAMLError`."""
    with open(path, encoding="utf-8") as file:
        return load_yaml(file)
