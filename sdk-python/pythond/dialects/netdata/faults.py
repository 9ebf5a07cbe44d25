"""Collects what is wrong with netdata's files, each with its place and the text of its line."""

from __future__ import annotations

import difflib

from pythond import codes
from pythond.dialects import Fault
from pythond.dialects.netdata import marked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

UNPARSABLE = codes.FOREIGN_SYNTAX
VALUE = codes.FOREIGN_VALUE


class Faults:
    """What is wrong with one file."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.found: list[Fault] = []
        self._lines = data.decode("utf-8", "replace").splitlines()

    def error(self, code: str, text: str, line: int, column: int, help: str = "") -> None:
        self._add("error", code, text, line, column, help)

    def warning(self, code: str, text: str, line: int, column: int, help: str = "") -> None:
        self._add("warning", code, text, line, column, help)

    def unreadable(self, error: marked.Unreadable, what: str = "") -> None:
        self.error(UNPARSABLE, f"{what}{error.text}", error.line, error.column, error.help)

    def _add(self, severity: str, code: str, text: str, line: int, column: int, help: str) -> None:
        source = self._lines[line - 1] if 0 < line <= len(self._lines) else ""
        self.found.append(Fault(code, text, self.path, line, column, severity, source[:400], help))


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the known name that is most like one; empty if none is."""
    found = difflib.get_close_matches(name, sorted(known), 1, 0.6)
    return found[0] if found else ""
