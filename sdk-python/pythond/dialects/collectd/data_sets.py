"""Types: which data sources a value list has, from files in the form of types.db.

A line is `name source:KIND:min:max …`. Our own list (`known_types`) holds where neither collectd.conf nor the
installation has one.
"""

from __future__ import annotations

import os
import re
import struct

from pythond import codes
from pythond.dialects import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping

    from pythond.dialects.collectd.settings import Files

    DataSet = tuple["DataSource", ...]

INSTALLED = "/usr/share/collectd/types.db"
_LONGEST_LINE = 4095
_NUMBER = re.compile(
    r"[+-]?(?:inf(?:inity)?|nan|0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?"
    r"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)",
    re.IGNORECASE,
)
_MOST_SINGLE = 3.4028234e38
_KINDS = ("gauge", "counter", "derive", "absolute")
# What integers of a kind may be, as collectd stores them.
RANGES = {"counter": (0, 2**64 - 1), "absolute": (0, 2**64 - 1), "derive": (-(2**63), 2**63 - 1)}


class DataSource:
    """One number of a value list."""

    __slots__ = ("kind", "max", "min", "name")

    def __init__(self, name: str, kind: str, min: float | None, max: float | None) -> None:
        self.name = name
        self.kind = kind
        self.min = min
        self.max = max


class Types:
    """All types that are known, by name."""

    def __init__(self) -> None:
        self.sets: dict[str, DataSet] = {}
        # Where they come from, for people.
        self.files: list[str] = []
        # Types that a later file or line has given anew.
        self.replaced: list[str] = []

    def add(self, data: bytes, file: str, faults: list[Fault]) -> None:
        """Takes over a file; a line that cannot be read is left out and told."""
        self.files.append(file)
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
            line = line.rstrip("\r")
            if line.startswith("#") or not line.strip():
                continue
            try:
                name, sources = parse_line(line)
                self._tell_of_limits(line, file, number, faults)
            except ValueError as error:
                text = f"line is left out: {error}"
                faults.append(
                    Fault(codes.FOREIGN_VALUE, text, file, number, _column(line, error), "warning", line[:400])
                )
                continue
            if name in self.sets:
                self.replaced.append(name)
            self.sets[name] = sources

    def _tell_of_limits(self, line: str, file: str, number: int, faults: list[Fault]) -> None:
        """Warns of limits that are no numbers: collectd takes what such a text begins with, else 0."""
        for field in line.split()[1:]:
            for limit in field.rstrip(",").split(":")[2:]:
                if limit.upper() != "U" and not _NUMBER.fullmatch(limit):
                    told = f"`{limit}` of `{field}` is neither a number nor `U`, it is taken as {_limit(limit)}"
                    column = line.find(field) + 1
                    faults.append(Fault(codes.FOREIGN_VALUE, told, file, number, column, "warning", line[:400]))

    def nearest(self, name: str) -> str:
        """Returns the type that a wrong name was probably meant to be; empty if none is near."""
        return nearest(name, self.sets)


class _BadField(ValueError):
    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


def parse_line(line: str) -> tuple[str, DataSet]:
    """Reads a line. Raises `ValueError`."""
    if len(line.encode("utf-8")) >= _LONGEST_LINE:
        raise ValueError(f"it is longer than {_LONGEST_LINE} bytes")
    fields = [field[:-1] if field.endswith(",") else field for field in line.split()]
    if len(fields) < 2:
        raise ValueError(f"type `{fields[0]}` has no data source")
    return fields[0], tuple(_source(field) for field in fields[1:])


def _source(field: str) -> DataSource:
    parts = field.split(":")
    if len(parts) != 4 or not parts[0]:
        raise _BadField(f"`{field}` is not `name:KIND:min:max`", field)
    name, kind, low, high = parts
    if kind.lower() not in _KINDS:
        raise _BadField(f"`{kind}` of `{field}` is none of GAUGE, COUNTER, DERIVE, ABSOLUTE", field)
    return DataSource(name, kind.lower(), _limit(low), _limit(high))


def _limit(text: str) -> float | None:
    """Takes a limit as C reads a number: what the text begins with, else 0."""
    found = _NUMBER.match(text)
    if text.upper() == "U" or (found and "nan" in found.group().lower()):
        return None
    if found is None:
        return 0.0
    return float.fromhex(found.group()) if "x" in found.group().lower() else float(found.group())


def single(limit: float | None) -> float | None:
    """Returns a limit as collectd tells it: with the precision of 32 bits."""
    if limit is None or abs(limit) > _MOST_SINGLE:
        return limit
    rounded: float = struct.unpack("f", struct.pack("f", limit))[0]
    return rounded


def _column(line: str, error: ValueError) -> int:
    return line.find(error.field) + 1 if isinstance(error, _BadField) else 1


def read(files: Iterable[str], more: Iterable[str], host: Files, faults: list[Fault]) -> Types:
    """Reads the types of collectd.conf (`files`), else those of the installation, else ours; and `more` after them."""
    types = Types()
    found = [_take(types, path, host, faults) for path in files]
    if not any(found) and not (os.path.exists(INSTALLED) and _take(types, INSTALLED, host, faults)):
        from pythond.dialects.collectd import known_types

        types.add(known_types.text().encode(), "the types of pythond", faults)
        types.replaced.clear()
    for path in more:
        _take(types, path, host, faults)
    return types


def _take(types: Types, path: str, host: Files, faults: list[Fault]) -> bool:
    try:
        types.add(host.reads(path), path, faults)
    except OSError as error:
        faults.append(Fault(codes.FOREIGN_VALUE, f"cannot read the types in {path}: {error.strerror or error}", path))
        return False
    return True


def nearest(name: str, known: Iterable[str] | Mapping[str, object]) -> str:
    """Returns the known name that differs least from one that is not known; empty if none is near."""
    import difflib

    found = difflib.get_close_matches(name, list(known), 1, 0.6)
    return found[0] if found else ""
