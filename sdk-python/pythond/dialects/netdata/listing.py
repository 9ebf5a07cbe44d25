"""The units of an input: the modules that run, each job with its ways; and everything that is wrong with their files.

No code of a module runs here: its source is parsed where it may say that it is disabled.
"""

from __future__ import annotations

import os

from pythond import codes
from pythond.dialects import Fault, Listing, ToldUnit
from pythond.dialects.netdata import confs, faults, globals_of, job_confs
from pythond.dialects.netdata.enabled import Enabled
from pythond.dialects.netdata.places import PYTHOND_CONF, SUFFIX, Places, is_stock
from pythond.dialects.netdata.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pythond.dialects import Host, Unit
    from pythond.dialects.netdata.confs import ModuleConf
    from pythond.dialects.netdata.globals_of import Facts
    from pythond.dialects.netdata.job_confs import JobConf
    from pythond.dialects.netdata.places import ModuleFile

_SETTINGS = codes.NO_SUCH_PATH
_OTHER_DIALECT = codes.OTHER_DIALECT
_NO_MODULE = codes.NO_MODULE_FOR
# What tells a script of another dialect, and the table of settings that its folder belongs in.
_OTHERS = ((b"DataKitFramework", "a DataKit script", "[[inputs.pythond]]"),)
_LOOK_BYTES = 1 << 20


def find(given: Unit, host: Host) -> Listing:
    """Tells the units of an input; `given.file` is the only module where it is one and no folder."""
    return _Finder(given, host).listing()


class _Finder:
    """One listing in the making."""

    def __init__(self, given: Unit, host: Host) -> None:
        self._host = host
        self._input = given.input or host.input
        # An input is given its folder, a command line the module.
        self._file = os.path.abspath(given.file) if given.file.endswith(SUFFIX) else ""
        self._settings = Settings(host.settings)
        self._places = Places(self._settings, given.roots, host, self._file)
        self._enabled = Enabled()
        self._units: list[ToldUnit] = []
        self._faults: list[Fault] = []

    def listing(self) -> Listing:
        modules = self._places.modules()
        for path in self._places.pythond_confs():
            try:
                self._enabled.read(path, self._host)
            except OSError as error:
                self._faults.append(Fault(faults.UNPARSABLE, f"cannot be read: {error.strerror}", path))
        names = {module.name for module in modules}
        if not self._file:
            self._enabled.name_unknown(names)
            self._look_for_strangers(names)
        for noted in self._enabled.faults:
            self._faults += noted.found
        for module in self._chosen(modules):
            self._add(module)
        return Listing(self._units, self._faults)

    def _chosen(self, modules: list[ModuleFile]) -> list[ModuleFile]:
        """Returns the modules that the settings name, all where they name none."""
        if not modules:
            looked = ", ".join(self._places.looked()) or "nowhere: `dirs` and `install` are not set"
            self._faults.append(Fault(_SETTINGS, f"no module (`*{SUFFIX}`) was found; looked in {looked}"))
        wanted = self._settings.modules
        if wanted is None or self._file:
            return modules
        names = {module.name for module in modules}
        for name in wanted if modules else ():
            if name not in names:
                near = faults.nearest(name, names)
                hint = f"; did you mean {near}" if near else ""
                self._faults.append(Fault(_SETTINGS, f"no module {name}{hint}"))
        return [module for module in modules if module.name in wanted]

    # --- one module ---

    def _add(self, module: ModuleFile) -> None:
        facts = self._facts(module)
        off = self._enabled.off(module.name, module.path, facts.disabled_line)
        is_named = bool(self._file) or self._settings.modules is not None
        unit_id = f"{self._input}.{module.name}"
        if off and not is_named:
            quiet = module.is_stock
            self._units.append(ToldUnit(id=unit_id, title="", file=module.path, quiet=quiet, off=off))
            return
        conf, found = self._conf(module)
        self._faults += found.faults
        note = f"runs although it is off: {off}" if off else ""
        by_name: dict[str, list[JobConf]] = {}
        for job in found.jobs:
            by_name.setdefault(job.actual_name, []).append(job)
        for name, jobs in by_name.items():
            own_id = unit_id if name == module.name else f"{unit_id}:{name}"
            ways = job_confs.packed(jobs) if conf and not found.is_unread else None
            self._units.append(self._told(own_id, module, conf, jobs, facts, note, ways))
        for name, jobs in by_name.items():
            for job in jobs[1:]:
                self._add_served(f"{unit_id}:{name}", module, job, jobs[0])

    def _facts(self, module: ModuleFile) -> Facts:
        try:
            return globals_of.facts(self._host.reads(module.path))
        except OSError:
            # Its load will tell.
            return globals_of.Facts()

    def _conf(self, module: ModuleFile) -> tuple[str, ModuleConf]:
        """Returns the file of a module's configuration, empty without, and its jobs."""
        if self._settings.given is not None:
            return "", confs.ModuleConf([job_confs.without_file(module.name, module.is_stock, self._settings.given)])
        path = self._places.conf_of(module)
        if not path:
            return "", confs.ModuleConf([job_confs.without_file(module.name, module.is_stock)])
        try:
            return path, confs.read(module.name, path, self._places.is_stock(path), self._host.reads)
        except OSError as error:
            fault = Fault(faults.UNPARSABLE, f"cannot be read: {error.strerror}", path)
            return path, confs.ModuleConf([], [fault])

    def _told(
        self,
        unit_id: str,
        module: ModuleFile,
        conf: str,
        jobs: list[JobConf],
        facts: Facts,
        note: str,
        ways: str | None,
    ) -> ToldUnit:
        first = jobs[0]
        parts: dict[str, Any] = {"module": module.name, "file": module.path, "conf": conf}
        parts["jobs"] = list(dict.fromkeys(job.key for job in jobs))
        parts["gc"] = self._enabled.gc_seconds
        if ways is not None:
            parts["ways"] = ways
        place = f"{conf}:{first.line}" if conf and first.line else conf
        return ToldUnit(
            id=unit_id,
            title=note or place,
            file=module.path,
            reads=[path for path in (module.path, conf) if path],
            parts=parts,
            process=self._process(module),
            quiet=first.is_stock,
            every=first.resolved("update_every", facts.values, self._settings.update_every),
        )

    def _process(self, module: ModuleFile) -> str:
        if self._host.isolation == "input":
            return self._input
        return f"{self._input}.{module.name}" if self._host.isolation == "module" else ""

    def _add_served(self, unit_id: str, module: ModuleFile, job: JobConf, first: JobConf) -> None:
        """Adds a further way to one source: it has no unit of its own."""
        way_id = f"{unit_id}/{job.key}"
        if any(unit.id == way_id for unit in self._units):
            return
        off = f"{job.conf}:{job.line}: already served by job {first.key}, or tried after it"
        self._units.append(ToldUnit(way_id, "", module.path, quiet=job.is_stock, off=off))

    # --- what does not belong ---

    def _look_for_strangers(self, modules: set[str]) -> None:
        """Notes settings without a module, and scripts of other dialects."""
        conf_folders = [os.path.join(one, "python.d") for one in self._places.conf_user]
        for folder in [*conf_folders, *self._own_folders()]:
            for name in self._places.names(folder):
                path = os.path.join(folder, name)
                if name.endswith(".conf") and name != PYTHOND_CONF and name[: -len(".conf")] not in modules:
                    self._note_lonely(name, path)
                elif name.endswith(".py") and not name.endswith(SUFFIX) and folder not in conf_folders:
                    self._note_stranger(path)
                elif name.endswith(".panoptes-plugin"):
                    self._note_other(path, "a Panoptes plugin", "[[inputs.panoptes]]")

    def _own_folders(self) -> list[str]:
        """Returns the user's folders of modules, with those one level below that hold some."""
        found = []
        for folder in self._places.folders():
            found.append(folder)
            for name in self._places.names(folder):
                path = os.path.join(folder, name)
                if os.path.isdir(path) and any(one.endswith(SUFFIX) for one in self._places.names(path)):
                    found.append(path)
        return found

    def _note_lonely(self, name: str, path: str) -> None:
        if is_stock(path):
            return
        module = name[: -len(".conf")] + SUFFIX
        text = f"{name} has no {module} in {', '.join(self._places.dirs)}"
        self._faults.append(Fault(_NO_MODULE, text, path, severity="warning"))

    def _note_stranger(self, path: str) -> None:
        try:
            with open(path, "rb") as file:
                source = file.read(_LOOK_BYTES)
        except OSError:
            return
        for mark, what, table in _OTHERS:
            if mark in source:
                self._note_other(path, what, table)

    def _note_other(self, path: str, what: str, table: str) -> None:
        text = f"is {what}; put its folder under {table}"
        self._faults.append(Fault(_OTHER_DIALECT, text, path, severity="warning"))
