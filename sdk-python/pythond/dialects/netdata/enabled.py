"""Which modules run, by `python.d.conf`: the stock file, then the user's, key by key."""

from __future__ import annotations

import re

from pythond.dialects.netdata import faults, marked, stock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Collection

    from pythond.dialects import Host
    from pythond.dialects.netdata.faults import Faults
    from pythond.dialects.netdata.marked import Pair

_SWITCHES = ("enabled", "default_run", "gc_run")
_GC_INTERVAL = "gc_interval"
_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
# For an interpreter without PyYAML: the file is flat.
_FLAT = re.compile(r"^(\w+)\s*:\s*['\"]?(\w+)['\"]?\s*(?:#.*)?$")


class Enabled:
    """What `python.d.conf` says, with where it says so."""

    def __init__(self) -> None:
        self.faults: list[Faults] = []
        self._values: dict[str, Any] = {"enabled": True, "default_run": True, "gc_run": True, _GC_INTERVAL: 300}
        self._places: dict[str, str] = {}
        self._lines: dict[str, tuple[Faults, Pair]] = {}

    def read(self, path: str, host: Host) -> None:
        """Takes over what a file says; what is wrong with it is kept as faults."""
        data = host.reads(path)
        noted = faults.Faults(path, data)
        self.faults.append(noted)
        if marked.yaml is None:
            self._read_flat(path, data)
            return
        try:
            document = marked.read(data)
        except marked.Unreadable as error:
            noted.unreadable(error)
            return
        if document is None:
            return
        for key, first, second in document.repeated:
            text = f"`{key}` is given twice, first in line {first.line}; the last one counts"
            noted.warning(faults.VALUE, text, second.line, second.column)
        for pair in document.pairs:
            self._take(pair, noted)

    def _take(self, pair: Pair, noted: Faults) -> None:
        try:
            value = pair.value()
        except marked.Unreadable as error:
            noted.unreadable(error)
            return
        if pair.key == _GC_INTERVAL:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                self._refuse(pair, "a number of seconds above 0", noted)
                return
        elif isinstance(value, str) and value.lower() in _WORDS:
            value = _WORDS[value.lower()]
            text = f'`{pair.key}` is "{pair.text()}", which is text; taken as {"yes" if value else "no"}'
            noted.warning(faults.VALUE, text, pair.value_line, pair.value_column)
        elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            # What is empty or 0 switches off, as in netdata.
            value = bool(value)
            text = f"`{pair.key}` is {pair.text() or 'empty'}; taken as {'yes' if value else 'no'}"
            noted.warning(faults.VALUE, text, pair.value_line, pair.value_column)
        elif not isinstance(value, bool):
            self._refuse(pair, "yes or no", noted)
            return
        self._set(pair.key, value, f"{noted.path}:{pair.line}")
        self._lines[pair.key] = (noted, pair)

    def _refuse(self, pair: Pair, wanted: str, noted: Faults) -> None:
        shown = f"is {pair.text()}" if pair.text() else "has no such value"
        text = f"`{pair.key}` {shown}; it must be {wanted}"
        noted.error(faults.VALUE, text, pair.value_line, pair.value_column)

    def _read_flat(self, path: str, data: bytes) -> None:
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            found = _FLAT.match(line)
            if not found:
                continue
            key, word = found.group(1), found.group(2).lower()
            if key == _GC_INTERVAL and word.isdigit():
                self._set(key, int(word), f"{path}:{number}")
            elif word in _WORDS:
                self._set(key, _WORDS[word], f"{path}:{number}")
            elif word.isdigit():
                self._set(key, int(word) != 0, f"{path}:{number}")

    def _set(self, key: str, value: Any, place: str) -> None:
        self._values[key] = value
        self._places[key] = place

    def name_unknown(self, modules: Collection[str]) -> None:
        """Notes the modules that are named and that nobody has."""
        for key, (noted, pair) in self._lines.items():
            if key in _SWITCHES or key == _GC_INTERVAL or key in modules or key in stock.NAMES:
                continue
            near = faults.nearest(key, modules)
            hint = f"; did you mean {near}" if near else ""
            noted.warning(faults.VALUE, f"no module {key}{hint}", pair.line, pair.column)

    def off(self, module: str, path: str, disabled_line: int) -> str:
        """Returns the file:line that says that a module does not run, empty for one that does.

        `disabled_line` is where its own source says so.
        """
        if not self._values["enabled"]:
            return f"{self._places['enabled']}: enabled: no"
        own = self._values.get(module)
        if own is not None:
            return "" if own else f"{self._places[module]}: {module}: no"
        if not self._values["default_run"]:
            return f"{self._places['default_run']}: default_run: no"
        return f"{path}:{disabled_line}: disabled_by_default" if disabled_line else ""

    @property
    def gc_seconds(self) -> float:
        """Returns how often garbage is collected between runs; 0 for never."""
        return float(self._values[_GC_INTERVAL]) if self._values["gc_run"] else 0.0
