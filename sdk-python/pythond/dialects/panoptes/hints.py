"""What is odd about a module that runs all the same."""

from __future__ import annotations

import ast
import difflib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

_ALIKE = 0.9


def uncalled(source: str) -> Iterator[tuple[int, str]]:
    """Yields methods that nobody calls while one of nearly that name is called, with their lines.

    Panoptes' tutorial has it: `populatedMetricsGroupSetWithTimeSeries` is written, `populateMetricsGroupSet…` called.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for cls in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]:
        methods = {one.name: one.lineno for one in cls.body if isinstance(one, ast.FunctionDef)}
        called = [name for name in methods if name in used]
        for name, line in methods.items():
            if name in used or name.startswith("__"):
                continue
            near = difflib.get_close_matches(name, called, 1, _ALIKE)
            if near:
                yield line, f"`{cls.name}.{name}` is called by nobody; `{near[0]}` is"
