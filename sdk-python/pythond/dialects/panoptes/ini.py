"""Reads ini files as Python's `configparser` does, and knows where everything stands.

What differs: all mistakes of a file are found and not only the first, a section or key that is given twice keeps its
first value, and a lone `%` is taken as it is.
"""

from __future__ import annotations

import re
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

_SECTION = re.compile(r"\[([^]]+)\]")
_OPTION = re.compile(r"(.*?)\s*[=:]\s*(.*)$")
_REFERENCE = re.compile(r"%(?:%|\(([^)]*)\)s)")
_DEEPEST = 10
DEFAULT = "DEFAULT"


class Value:
    """The text of an option, and where the text begins."""

    __slots__ = ("column", "line", "text")

    def __init__(self, text: str, line: int, column: int) -> None:
        self.text = text
        self.line = line
        self.column = column


class Mistake:
    """What is wrong at a place; `is_fatal` where the file cannot be meant so, `is_lost` where a line was not taken."""

    __slots__ = ("column", "is_fatal", "is_lost", "line", "text")

    def __init__(self, text: str, line: int, column: int, is_fatal: bool = True, is_lost: bool = False) -> None:
        self.text = text
        self.line = line
        self.column = column
        self.is_fatal = is_fatal
        self.is_lost = is_lost


class Ini:
    """The sections of a file, with the lines that they begin on; options are in lower case."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.sections: dict[str, dict[str, Value]] = {}
        self.places: dict[str, int] = {}
        self.mistakes: list[Mistake] = []
        self._read()
        for section in self.sections.values():
            for option in section:
                self._interpolate(section, option)

    def get(self, section: str, option: str) -> Value | None:
        """Returns an option of a section, or that of the section `DEFAULT`."""
        found = self.sections.get(section, {}).get(option)
        return found or (self.sections.get(DEFAULT, {}).get(option) if section in self.sections else None)

    def line_of(self, section: str) -> int:
        """Returns the line of a section; 1 where it is not there."""
        return self.places.get(section, 1)

    def source(self, line: int) -> str:
        return self.lines[line - 1] if 0 < line <= len(self.lines) else ""

    def config(self) -> dict[str, dict[str, str]]:
        """Returns the texts of all sections but `DEFAULT`, whose options each of them has."""
        defaults = {option: value.text for option, value in self.sections.get(DEFAULT, {}).items()}
        return {
            name: {**defaults, **{option: value.text for option, value in section.items()}}
            for name, section in self.sections.items()
            if name != DEFAULT
        }

    def _read(self) -> None:
        section: dict[str, Value] | None = None
        last: Value | None = None
        indent = 0
        for number, line in enumerate(self.lines, 1):
            text = line.strip()
            if not text or text[0] in "#;":
                # An empty line is part of a value that goes on below; a comment is not.
                if not text and last is not None:
                    last.text += "\n"
                continue
            column = len(line) - len(line.lstrip())
            if last is not None and column > indent:
                last.text += "\n" + text
                continue
            indent = column
            header = _SECTION.match(text)
            if header:
                section, last = self._begin(header[1], number, column + 1), None
            else:
                last = self._option(section, line, number, column)
        for options in self.sections.values():
            for value in options.values():
                value.text = value.text.rstrip()

    def _begin(self, name: str, line: int, column: int) -> dict[str, Value]:
        if name in self.places:
            self._wrong(f"section `{name}` is given twice, first in line {self.places[name]}", line, column)
            return self.sections[name]
        self.places[name] = line
        self.sections[name] = {}
        return self.sections[name]

    def _option(self, section: dict[str, Value] | None, line: str, number: int, column: int) -> Value | None:
        """Takes a line `option = value`; returns what indented lines below it are added to."""
        found = _OPTION.match(line.strip())
        if section is None:
            text = "there must be a section such as `[Core]` before the first option"
            self._wrong(text, number, column + 1, is_lost=True)
            return None
        if line.strip().startswith("[") and found is None:
            self._wrong("the `]` of the section is missing", number, column + 1, is_lost=True)
            return None
        if found is None or not found[1]:
            what = "name of the option" if found else "`=` or `:`"
            text = f"the {what} is missing; a line must be `option = value`"
            self._wrong(text, number, column + 1, is_lost=True)
            return None
        option = found[1].rstrip().lower()
        value = Value(found[2].strip(), number, column + found.start(2) + 1)
        if option in section:
            self._wrong(f"`{option}` is given twice, first in line {section[option].line}", number, column + 1)
            return value
        section[option] = value
        return value

    def _wrong(self, text: str, line: int, column: int, is_fatal: bool = True, is_lost: bool = False) -> None:
        self.mistakes.append(Mistake(text, line, column, is_fatal, is_lost))

    def _interpolate(self, section: dict[str, Value], option: str) -> None:
        value = section[option]
        if "%" not in value.text:
            return
        for _ in range(_DEEPEST):
            names = [name.lower() for name in _REFERENCE.findall(value.text) if name]
            known = dict(self._texts(section, names))
            if not known:
                break
            value.text = _REFERENCE.sub(partial(_replaced, known), value.text)
        for name in _REFERENCE.findall(value.text):
            if name:
                text = f"`%({name})s` names no option of this section; it is taken as it is"
                self._wrong(text, value.line, value.column, is_fatal=False)
        value.text = value.text.replace("%%", "%")

    def _texts(self, section: dict[str, Value], names: list[str]) -> Iterator[tuple[str, str]]:
        for name in names:
            found = section.get(name) or self.sections.get(DEFAULT, {}).get(name)
            if found is not None:
                yield name, found.text


def _replaced(known: dict[str, str], found: re.Match[str]) -> str:
    name = found[1]
    return found[0] if name is None else known.get(name.lower(), found[0])
