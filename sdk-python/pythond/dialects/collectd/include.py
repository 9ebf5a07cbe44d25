"""Reads collectd.conf with all that it includes, in place."""

from __future__ import annotations

import fnmatch
import glob
import os
import re

from pythond import codes
from pythond.dialects import Fault
from pythond.dialects.collectd import grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from pythond.dialects.collectd.grammar import Item
    from pythond.dialects.collectd.settings import Files

MOST_DEPTH = 8
# What `wordexp` of C, which collectd expands paths with, does not take; behind `\` or in quotes it does.
_REFUSED = re.compile(r"""(?<!\\)[|&;<>(){}\n](?=[^'"]*\Z)""")
_VARIABLE = re.compile(r"\$\{\w+\}")


def read(path: str, host: Files, faults: list[Fault]) -> list[Item]:
    """Returns the root items of a file, included ones in place of each `Include`.

    Raises `OSError` for the file itself.
    """
    return _Reader(host, faults, os.path.dirname(os.path.abspath(path))).file(path, 0)


class _Reader:
    def __init__(self, host: Files, faults: list[Fault], folder: str) -> None:
        self._host = host
        self._faults = faults
        self._folder = folder

    def file(self, path: str, depth: int) -> list[Item]:
        found, faults = grammar.parse(self._host.reads(path), path)
        self._faults += faults
        items: list[Item] = []
        for item in found:
            if item.named("Include"):
                items += self._included(item, depth + 1)
            else:
                items.append(item)
        return items

    def _included(self, item: Item, depth: int) -> list[Item]:
        pattern = item.text()
        if pattern is None:
            self._tell(item, "`Include` takes one text, the path of a file or folder", codes.FOREIGN_VALUE)
            return []
        refused = _REFUSED.search(_VARIABLE.sub("", pattern))
        if refused:
            told = f"`Include` takes no `{refused.group()}`: collectd does not start with `{pattern}`"
            self._tell(item, told, codes.FOREIGN_VALUE)
            return []
        if depth > MOST_DEPTH:
            self._tell(item, f"`Include` is nested deeper than {MOST_DEPTH} files", codes.FOREIGN_SYNTAX)
            return []
        name = next((child.text() for child in item.children if child.named("Filter")), None)
        paths = self._paths(pattern)
        if not paths:
            self._tell(item, f"`Include` finds nothing: {pattern}", codes.FOREIGN_VALUE, "warning")
        items: list[Item] = []
        for path in (one for found in paths for one in self._files(found)):
            if name is not None and not fnmatch.fnmatchcase(os.path.basename(path), name):
                continue
            try:
                items += self.file(path, depth)
            except OSError as error:
                self._tell(item, f"`Include` cannot read {path}: {error.strerror or error}", codes.FOREIGN_SYNTAX)
        return items

    def _paths(self, pattern: str) -> list[str]:
        """Returns what a path with wildcards finds; the folder of the wildcards is watched for more."""
        whole = os.path.join(self._folder, os.path.expandvars(os.path.expanduser(pattern)))
        folder = os.path.dirname(whole)
        if os.path.lexists(whole):
            return [whole]
        for parent in [folder] if not glob.has_magic(folder) else glob.glob(folder):
            self._host.looks(parent)
        return sorted(glob.glob(whole), key=os.fsencode) if glob.has_magic(whole) else []

    def _files(self, path: str) -> Iterator[str]:
        """Returns a file itself, or all files of a folder and those below it, without hidden ones."""
        if not os.path.isdir(path):
            yield path
            return
        for name in sorted(self._host.looks(path), key=os.fsencode):
            if not name.startswith("."):
                yield from self._files(os.path.join(path, name))

    def _tell(self, item: Item, text: str, code: str, severity: str = "error") -> None:
        column = item.columns[0] if item.columns else item.column
        self._faults.append(Fault(code, text, item.file, item.line, column, severity))
