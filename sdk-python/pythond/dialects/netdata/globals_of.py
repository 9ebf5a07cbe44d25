"""What the source of a module says of itself, found without running it."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = ("update_every", "priority", "autodetection_retry", "chart_cleanup", "penalty")
_DISABLED = "disabled_by_default"
_MENTIONS = re.compile(rb"^(?:%s)\s*[:=]" % b"|".join(name.encode() for name in (*NAMES, _DISABLED)), re.MULTILINE)


class Facts:
    """The globals of a module whose values are written out."""

    __slots__ = ("disabled_line", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        # Where `disabled_by_default = True` stands; 0 where it does not.
        self.disabled_line = 0


def facts(source: bytes) -> Facts:
    """Returns what a module says; nothing of one that cannot be parsed, whose load will tell why."""
    found = Facts()
    if not _MENTIONS.search(source):
        return found
    import ast

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if not isinstance(target, ast.Name) or not isinstance(node.value, ast.Constant):  # type: ignore[attr-defined]
                continue
            value = node.value.value  # type: ignore[attr-defined]
            if target.id in NAMES:
                found.values[target.id] = value
            elif target.id == _DISABLED:
                found.disabled_line = node.lineno if value else 0
    return found
