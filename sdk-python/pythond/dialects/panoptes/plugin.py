"""A plugin as its info file (`*.panoptes-plugin`) describes it, and what can be wrong with one."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict

from pythond import codes
from pythond.dialects import Fault
from pythond.dialects.panoptes import transforms
from pythond.dialects.panoptes.ini import Ini, Value
from pythond.dialects.panoptes.resource_filter import Filter, FilterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

    Config = Dict[str, Dict[str, str]]

SUFFIX = ".panoptes-plugin"
TYPES = ("polling", "discovery", "enrichment")
_SECTIONS = ("Core", "Documentation", "main", "snmp", "x509", "enrichment", "transforms", "topics")
_FREQUENCY = "execute_frequency"
# What plugins read themselves.
_ITS_OWN = "polling_frequency"
# A run may take so many times its frequency.
LIMIT = 1.25


class Plugin:
    """One info file; where it is broken, what could be read of it."""

    def __init__(self, path: str, type: str, text: str) -> None:
        self.path = path
        self.type = type
        self.ini = Ini(text)
        # Those that keep it from running, then those that do not.
        self.errors: list[Fault] = []
        self.warnings: list[Fault] = []
        # What is missing in a file that is torn may only not have been found.
        self._is_torn = any(mistake.is_lost for mistake in self.ini.mistakes)
        for mistake in self.ini.mistakes:
            self._note(mistake.text, mistake.line, mistake.column, code=codes.FOREIGN_SYNTAX, is_fatal=mistake.is_fatal)
        self._check_sections()
        self.name = self._mandatory("Core", "name")
        if ";;" in self.name:
            self._at(self.ini.get("Core", "name"), "`Name` must not contain `;;`")
        self.module = self._mandatory("Core", "module")
        self.every = self._frequency()
        self.results_age = self._whole("main", "results_cache_age")
        self.filter = self._filter()
        self.transforms = self._transforms()
        self._check_preload()

    @property
    def key(self) -> str:
        """The plugin's name as it stands in ids, or that of its file where it has none."""
        return normalized(self.name or os.path.basename(self.path)[: -len(SUFFIX)] or "plugin")

    @property
    def limit(self) -> float:
        """How many seconds a run may take."""
        return LIMIT * self.every

    def config(self) -> Config:
        """Returns what plugins see as `context.config`: a new one for each run, for they may change it."""
        config: Config = defaultdict(dict)
        config.update(self.ini.config())
        return config

    def line_of(self, section: str, option: str) -> int:
        found = self.ini.get(section, option)
        return found.line if found else self.ini.line_of(section)

    # --- what is wrong ---

    def _note(
        self,
        text: str,
        line: int,
        column: int = 0,
        code: str = codes.FOREIGN_VALUE,
        is_fatal: bool = True,
        help: str = "",
    ) -> None:
        severity = "error" if is_fatal else "warning"
        source = self.ini.source(line)
        fault = Fault(code, text, self.path, line, column, severity=severity, source=source, help=help)
        (self.errors if is_fatal else self.warnings).append(fault)

    def _at(
        self,
        value: Value | None,
        text: str,
        offset: int = 0,
        is_fatal: bool = True,
        code: str = codes.FOREIGN_VALUE,
        help: str = "",
    ) -> None:
        line, column = (value.line, value.column + offset) if value else (1, 0)
        self._note(text, line, column, code, is_fatal, help)

    def _check_sections(self) -> None:
        for name, line in self.ini.places.items():
            if name in _SECTIONS or name == "DEFAULT":
                continue
            near = [one for one in _SECTIONS if one.lower() == name.lower()]
            near = near or difflib.get_close_matches(name, _SECTIONS, 1)
            help = f"did you mean `[{near[0]}]`?" if near else ""
            self._note(f"`[{name}]` is no section that Panoptes knows", line, 1, is_fatal=False, help=help)

    def _mandatory(self, section: str, option: str) -> str:
        found = self.ini.get(section, option)
        if found is not None and found.text:
            return found.text
        if found is not None:
            self._at(found, f"`{option.capitalize()}` is empty")
        else:
            self._missing(section, option, option.capitalize())
        return ""

    def _missing(
        self, section: str, option: str, name: str, why: str = "", code: str = codes.FOREIGN_VALUE, help: str = ""
    ) -> None:
        """Notes that an option is not there: at the section, or at what may have been meant to be it."""
        if self._is_torn:
            return
        if section not in self.ini.sections:
            near = [one for one in self.ini.places if one not in _SECTIONS and one.lower() == section.lower()]
            near = near or difflib.get_close_matches(
                section, [one for one in self.ini.places if one not in _SECTIONS], 1
            )
            line = self.ini.line_of(near[0]) if near else 1
            meant = f"did you mean it by `[{near[0]}]`?" if near else help
            self._note(f"the section `[{section}]` with `{name}` is missing{why}", line, code=code, help=meant)
            return
        near = difflib.get_close_matches(option, self.ini.sections[section], 1)
        line = self.line_of(section, near[0]) if near else self.ini.line_of(section)
        meant = f"did you mean it by `{near[0]}`?" if near else help
        self._note(f"`{name}` is missing in `[{section}]`{why}", line, code=code, help=meant)

    def _frequency(self) -> float:
        found = self.ini.get("main", _FREQUENCY)
        if found is None:
            why = ": this plugin would never run"
            if _ITS_OWN in self.ini.sections.get("main", {}) and not self._is_torn:
                help = f"`{_ITS_OWN}` is for the plugin itself; did you mean `{_FREQUENCY}`?"
                line = self.line_of("main", _ITS_OWN)
                self._note(f"`{_FREQUENCY}` is missing in `[main]`{why}", line, help=help)
            else:
                self._missing("main", _FREQUENCY, _FREQUENCY, why)
            return 0.0
        if not re.fullmatch(r"[+]?\d+", found.text) or int(found.text) == 0:
            text = f"`{_FREQUENCY}` is `{found.text}`; it must be a whole number of seconds above 0"
            self._at(found, text, help=_of_comment(found.text))
            return 0.0
        return float(found.text)

    def _whole(self, section: str, option: str) -> int:
        found = self.ini.get(section, option)
        if found is None or not found.text:
            return 0
        if not re.fullmatch(r"[+-]?\d+", found.text):
            text = f"`{option}` is `{found.text}`; it must be a whole number of seconds"
            self._at(found, text, help=_of_comment(found.text))
            return 0
        return int(found.text)

    def _filter(self) -> Filter | None:
        """Returns the filter; None for a discovery plugin, and where it is wrong."""
        found = self.ini.get("main", "resource_filter")
        if self.type == "discovery":
            return None
        if found is None:
            help = 'for every resource: `resource_filter = resource_site LIKE "%"`'
            self._missing("main", "resource_filter", "resource_filter", code=codes.WRONG_FILTER, help=help)
            return None
        try:
            return Filter(found.text)
        except FilterError as error:
            text = f"`resource_filter`: {error.text}\n{error.pointed()}"
            offset = error.column - 1 if "\n" not in found.text else 0
            help = _of_comment(found.text[error.column - 1 :], "")
            if found.text.startswith('"') and found.text.endswith('"'):
                help = "the filter as a whole stands without quotes"
            self._at(found, text, offset, code=codes.WRONG_FILTER, help=help)
            return None

    def _transforms(self) -> transforms.Transforms:
        found, wrong = transforms.read(self.ini.sections.get("transforms", {}))
        for value, option, error in wrong:
            text = f"transform `{option}` is left out: {error.text}"
            if "\n" in value.text:
                text += "; an indented line belongs to the one above it"
            self._at(value, text, error.offset, is_fatal=False)
        return found

    def _check_preload(self) -> None:
        if "enrichment" not in self.ini.sections:
            return
        found = self.ini.get("enrichment", "preload")
        wanted = "`preload` must be resource:namespace[, …], for instance `self:*`"
        if found is None:
            self._note(f"`preload` is missing in `[enrichment]`; {wanted}", self.ini.line_of("enrichment"))
        elif any(not part.partition(":")[2].strip() for part in found.text.split(",")):
            self._at(found, wanted)


def _of_comment(text: str, before: str = " ") -> str:
    """Says what is wrong where a value ends with what looks like a comment; configparser takes it for the value."""
    is_comment = any(f"{before}{mark}" in text if before else text.startswith(mark) for mark in "#;")
    return "a comment needs a line of its own" if is_comment else ""


def normalized(name: str) -> str:
    """Returns a name as Panoptes has it in keys: `_` is doubled, what is no ASCII letter or digit becomes `_`."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name.replace("_", "__"))
