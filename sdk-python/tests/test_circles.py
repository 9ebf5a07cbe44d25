"""No file of the package imports one that imports it, through whatever chain, also within functions."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "pythond"


def modules():
    """Returns the files of the package by the names that they are imported by: in a `shadow` those of others."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if "shadow" in parts[:-1]:
            parts = parts[parts.index("shadow") + 1 :]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        # A name that two dialects have is that of each.
        found[name if name not in found else f"{name} of {path.parent}"] = path
    return found


def imports(tree, package, known):
    """Returns the modules that a parsed file imports at run time."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names]
        found.update(name for name in names if name in known)
        found |= imports(node, package, known)
    return found


def uses():
    known = modules()
    found = {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found[name] = imports(ast.parse(path.read_text(encoding="utf-8")), package, known) - {name}
    return found


def circle(used):
    """Returns the modules of which none can go first; empty where there is no circle."""
    left = dict(used)
    while True:
        free = [name for name, its in left.items() if not any(one in left for one in its)]
        free += [name for name in left if name not in free and not any(name in its for its in left.values())]
        if not free:
            return sorted(left)
        for name in free:
            del left[name]


def test_no_file_imports_one_that_imports_it():
    used = uses()
    assert len(used) > 150 and sum(map(len, used.values())) > 2 * len(used), "the look sees nothing"
    assert circle(used) == []


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
