"""The dialect `tally`: files that hold a number, and settings in a format of their own. For tests, and as an example.

    # web.tally
    unit web
    job hits every 10 file /run/web/hits
    job misses every 10 file misses
    unit disks
    follow /run/disks every 5
    unit spare off

A `job` reads the number in its file (a relative one lies beside the settings) and reports it as it is and as a rate.
`follow` has one such job for each file in a folder; they come and go with the files.
A unit that is `quiet` may wait without a warning; one that is `off` does not run.
"""

from __future__ import annotations

import os
import re

from pythond import loader
from pythond.dialects import Fault, Job, Listing, NotYet, ToldUnit
from pythond.rows import Reading, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from pythond.dialects import Host, Unit

PATH_FIRST = ()
PATH_LAST = ()
SAMPLE = None


def list(given: Unit, host: Host) -> Listing:
    """Tells one unit for each `unit` in the files of the setting `files`, or in the only one given; runs nothing."""
    listing = Listing()
    seen: dict[str, str] = {}
    for path in [given.file] if os.path.isfile(given.file) else _files(host):
        try:
            found = Settings(path, host.reads(path))
        except OSError as error:
            listing.faults.append(Fault("PD0106", f"cannot read {path}: {error.strerror}", path))
            continue
        listing.faults += found.faults
        for name, section in found.units.items():
            if name in seen:
                text = f"unit `{name}` is in {seen[name]} already"
                listing.faults.append(Fault("PD0802", text, path, section.line))
                continue
            seen[name] = path
            process = {"file": path, "input": host.input}.get(host.isolation, "")
            told = ToldUnit(f"{host.input}.{name}", name, path, section.line, [path], {"unit": name}, process)
            told.quiet = section.word == "quiet"
            told.off = f"{path}:{section.line}: off" if section.word == "off" else ""
            listing.units.append(told)
    return listing


def load(unit: Unit, host: Host) -> None:
    """Adds the jobs of one unit, or of all in a file that is run as a whole."""
    found = Settings(unit.file, host.reads(unit.file))
    wanted = found.units
    if unit.parts is None:
        for fault in found.faults:
            host.warn(fault.code, fault.text, fault.file, fault.line, fault.column)
    else:
        wanted = {name: section for name, section in wanted.items() if name == unit.parts["unit"]}
    if not wanted:
        raise loader.Failure("find", "PD0204", "NoUnit", f"no such unit in {unit.file}", True, file=unit.file)
    for name, section in wanted.items():
        for key, (path, every, line) in section.jobs.items():
            host.add(Count(host, name, key, path, every, line))
        for folder, (every, line) in section.follows.items():
            host.add(Follow(host, name, folder, every, line))


def close(host: Host) -> None:
    """Does nothing: a tally has nothing to flush."""


def forget() -> None:
    """Does nothing: `load` leaves nothing behind."""


class Count(Job):
    """Reports the number in a file."""

    def __init__(self, host: Host, unit: str, key: str, path: str, every: float, line: int) -> None:
        self.key = key
        self.title = path
        self.every = every
        self.line = line
        self._host = host
        self._tags = {"unit": unit, "job": key}
        self._path = path

    def check(self) -> None:
        if not os.path.exists(self._path):
            raise NotYet(f"{self._path} is not there", self.every)

    def run(self) -> None:
        with open(self._path, encoding="utf-8") as file:
            number = float(file.read())
        readings = [Reading("value", number), Reading("rate", number, kind="counter")]
        self._host.put(self, [Row("tally", self._tags, readings)])


class Follow(Job):
    """Has a job for each file that is in a folder."""

    def __init__(self, host: Host, unit: str, folder: str, every: float, line: int) -> None:
        self.key = os.path.basename(folder) + "/"
        self.title = folder
        self.every = every
        self.line = line
        self._host = host
        self._unit = unit
        self._folder = folder
        self._jobs: dict[str, Count] = {}

    def run(self) -> None:
        names = set(os.listdir(self._folder))
        for name in sorted(names - self._jobs.keys()):
            path = os.path.join(self._folder, name)
            self._jobs[name] = Count(self._host, self._unit, self.key + name, path, self.every, self.line)
            self._host.add(self._jobs[name])
        for name in self._jobs.keys() - names:
            self._host.drop(self._jobs.pop(name))


def _files(host: Host) -> Iterator[str]:
    for path in host.settings.get("files", ()):
        if os.path.isdir(path):
            yield from (os.path.join(path, name) for name in host.looks(path) if name.endswith(".tally"))
        else:
            yield path


class Section:
    """One `unit` of a file: its jobs by their keys (path, seconds, line), and what it follows (seconds, line)."""

    def __init__(self, line: int, word: str = "") -> None:
        self.line = line
        self.word = word
        self.jobs: dict[str, tuple[str, float, int]] = {}
        self.follows: dict[str, tuple[float, int]] = {}


class Wrong(Exception):
    """What is wrong with a line, and at which of its columns."""

    def __init__(self, code: str, text: str, column: int) -> None:
        super().__init__(text)
        self.code = code
        self.column = column


class Settings:
    """A settings file: its units, and what is wrong with it; a line that is wrong leaves the others alone."""

    def __init__(self, path: str, data: bytes) -> None:
        self.units: dict[str, Section] = {}
        self.faults = Listing().faults
        self._folder = os.path.dirname(path)
        self._section: Section | None = None
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            try:
                self._take(line, number)
            except Wrong as wrong:
                self.faults.append(Fault(wrong.code, str(wrong), path, number, wrong.column, source=line))

    def _take(self, line: str, number: int) -> None:
        words = line.split()
        columns = [found.start() + 1 for found in re.finditer(r"\S+", line)]
        if not words or words[0].startswith("#"):
            return
        if words[0] == "unit" and (len(words) == 2 or (len(words) == 3 and words[2] in ("quiet", "off"))):
            if words[1] in self.units:
                raise Wrong("PD0802", f"unit `{words[1]}` is there twice", columns[1])
            self._section = self.units[words[1]] = Section(number, "".join(words[2:]))
            return
        if words[0] not in _FORMS:
            raise Wrong("PD0801", f"a line begins with `unit`, `job` or `follow`, not with `{words[0]}`", columns[0])
        if self._section is None and words[0] != "unit":
            raise Wrong("PD0801", "a `unit` must come first", columns[0])
        section = self._section or Section(number)
        if words[0] == "job" and len(words) >= 6 and (words[2], words[4]) == ("every", "file"):
            if words[1] in section.jobs:
                raise Wrong("PD0802", f"job `{words[1]}` is there twice", columns[1])
            path = os.path.join(self._folder, line[columns[5] - 1 :].strip())
            section.jobs[words[1]] = (path, _seconds(words[3], columns[3]), number)
        elif words[0] == "follow" and len(words) == 4 and words[2] == "every":
            folder = os.path.join(self._folder, words[1])
            section.follows[folder] = (_seconds(words[3], columns[3]), number)
        else:
            raise Wrong("PD0801", f"the line must be `{_FORMS[words[0]]}`", columns[0])


_FORMS = {
    "unit": "unit NAME [quiet|off]",
    "job": "job NAME every SECONDS file PATH",
    "follow": "follow FOLDER every SECONDS",
}


def _seconds(word: str, column: int) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise Wrong("PD0802", f"`{word}` must be a number of seconds above 0", column)
    return seconds
