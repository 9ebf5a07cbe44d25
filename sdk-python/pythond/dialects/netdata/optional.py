"""Libraries that are used where the interpreter of the input has them."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def first_of(*names: str) -> Any:
    """Returns the first module that is there, None where none is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
