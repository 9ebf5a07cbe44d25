"""What an exported commit left out: why a module is not there although its author has it.

The agent writes it to the root of the tree (`src/git/export.rs`): paths by kind, from the root on.
"""

from __future__ import annotations

import json
import os
import sys

FILE = ".pythond-left-out.json"
_WHY = {
    "submodules": "is a submodule of this repository, and submodules are not fetched",
    "links": "is a link that leaves the repository or leads nowhere, and such links are left out",
    "pointers": "is a pointer of Git LFS, whose content is not fetched",
}
_POINTER = "version https://git-lfs.github.com/spec/"


def why_missing(module: str, file: str) -> str | None:
    """Returns what the commit that `file` comes from left out, if that is where `module` would be."""
    root = _root(file)
    if root is None:
        return None
    # As the import system looks for it, and beside the file for one that was imported from within a package.
    folders = [os.path.dirname(os.path.abspath(file)), *sys.path]
    inside = [folder for folder in folders if os.path.abspath(folder).startswith(root)]
    names = module.split(".")
    for kind, paths in _read(root).items():
        for path in paths:
            whole = os.path.join(root, path)
            for folder in inside:
                if _is_at(whole, folder, names):
                    return f"`{path}` {_WHY.get(kind, 'was left out')}"
    return None


def why_no_python(file: str, line: str) -> str | None:
    """Returns why a file that begins so is no Python, if it stands for one that was not fetched."""
    if not line.startswith(_POINTER):
        return None
    root = _root(file)
    shown = os.path.relpath(file, root) if root else os.path.basename(file)
    return f"`{shown}` {_WHY['pointers']}"


def _is_at(path: str, folder: str, names: list[str]) -> bool:
    place = folder
    for name in names:
        place = os.path.join(place, name)
        if path in (place, place + ".py"):
            return True
    # The whole package is missing where all that it holds was left out.
    return path.startswith(os.path.join(folder, names[0]) + os.sep)


def _root(file: str) -> str | None:
    folder = os.path.dirname(os.path.abspath(file))
    while True:
        if os.path.isfile(os.path.join(folder, FILE)):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _read(root: str) -> dict[str, list[str]]:
    try:
        with open(os.path.join(root, FILE), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
