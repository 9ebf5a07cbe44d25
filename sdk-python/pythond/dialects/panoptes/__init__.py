"""Panoptes' dialect: polling, discovery and enrichment plugins, each with its info file (`*.panoptes-plugin`).

    folders    finds info files and names units · `plugin`, `ini`, `resource_filter`, `transforms`: reads one
    modules    a plugin's code, run anew for each run · `execution`: one run · `points`, `results`: what becomes of it
    due        when it is run against what · `runs`: the threads that do it · `job`: how that is told to the agent,
               `overview`: and to whoever asks for the table of resources
    store      what the units of an input share, on disk: `resources`, `pairs`, `slots`; `shared`: all of it
    shadow     `yahoo_panoptes`, which plugins import

A unit is an info file and has one job, whatever the number of its resources: thousands of jobs would be thousands of
threads and rows of the status. Listing runs no code of the user.
"""

from __future__ import annotations

import os

from pythond import codes, guard, loader
from pythond.dialects import Fault, Listing, ToldUnit
from pythond.dialects.panoptes import folders, modules
from pythond.dialects.panoptes.plugin import SUFFIX, TYPES, Plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from pythond.dialects import Host, Unit
    from pythond.dialects.panoptes.shared import Shared

PATH_FIRST: Sequence[str] = (modules.SHADOW,)
PATH_LAST: Sequence[str] = ()
SAMPLE: str | None = None


def list(given: Unit, host: Host) -> Listing:
    """Tells the units of an input; or that of an info file, or of a module, where one is given."""
    from pythond.dialects.panoptes import shared

    if given.file.endswith((SUFFIX, ".py")):
        return Listing([ToldUnit(given.id, os.path.basename(given.file), given.file, reads=[given.file])])
    found = folders.find(host, given.roots)
    listing = Listing(faults=found.faults)
    given_resources, faults = shared.given_resources(host, given.roots)
    listing.faults += faults
    is_shared = host.isolation == "input"
    for plugin, id in zip(found.plugins, folders.ids_of(found.plugins, host.input or "panoptes")):
        listing.faults += plugin.warnings
        reads = [plugin.path]
        place, fault = _place_of(plugin)
        if place is not None:
            reads.append(place.path)
        if fault is not None and fault.severity == "warning":
            listing.faults.append(fault)
        listing.units.append(
            ToldUnit(
                id,
                f"{plugin.name or os.path.basename(plugin.path)} ({plugin.type})",
                plugin.path,
                line=plugin.line_of("Core", "name"),
                reads=reads,
                parts={"type": plugin.type},
                process=host.input or "panoptes" if is_shared else "",
                every=plugin.every or None,
            )
        )
    if given_resources and not any(plugin.type != "discovery" for plugin in found.plugins):
        text = "`resources` is given, but there is no polling or enrichment plugin to use them"
        listing.faults.append(Fault(codes.FOREIGN_VALUE, text, severity="warning"))
    return listing


def load(unit: Unit, host: Host) -> None:
    """Reads the info file, runs the module once to see that it has a plugin, and adds the job.

    Raises `loader.Failure`.
    """
    from pythond.dialects.panoptes.job import PluginJob

    plugin = _plugin_of(unit, host)
    # Of a unit that was told, the listing has said what is only worth a warning.
    warnings = plugin.warnings if unit.parts is None else []
    if plugin.errors:
        raise _failure(plugin.errors[0], [*plugin.errors[1:], *warnings])
    place, fault = _place_of(plugin)
    if place is None:
        assert fault is not None, "what is not found has a reason"
        raise _failure(fault, warnings)
    if unit.parts is None:
        for warning in [*warnings, *([fault] if fault else [])]:
            text = f"{warning.text}; {warning.help}" if warning.help else warning.text
            host.warn(warning.code, text, warning.file, warning.line, warning.column)
    if not place.path.startswith(modules.SHADOW):
        _claim(unit, host, place.path)
    module = modules.Module(place.path, plugin.name, plugin.type, unit.files)
    _try(module, unit, plugin)
    _warn_of_uncalled(place.path, host)
    shared = _shared(host, unit, plugin)
    job = PluginJob(plugin, module, host, shared)
    if unit.file != plugin.path:
        # A module that is run by hand: the line is one of its info file.
        job.line = 0
    host.add(job)


def close(host: Host) -> None:
    """There is nothing to be done after the job has stopped."""


def forget() -> None:
    """`load` leaves nothing behind but the job: a module is out of `sys.modules` again after each run."""


def _plugin_of(unit: Unit, host: Host) -> Plugin:
    """Reads the info file of a unit. Raises `loader.Failure`."""
    path = unit.file
    if path.endswith(".py"):
        return _plugin_of_module(path, host)
    try:
        text = host.reads(path).decode("utf-8-sig", "replace")
    except OSError as error:
        raise _failure(Fault(codes.FOREIGN_SYNTAX, f"cannot be read: {error.strerror}", path)) from error
    type = unit.parts["type"] if unit.parts else _type_of(path, text, host)
    return Plugin(path, type, text)


def _plugin_of_module(path: str, host: Host) -> Plugin:
    """Returns the plugin of a module that is run by hand: by the info file beside it, or with defaults."""
    folder = os.path.dirname(os.path.abspath(path))
    stem = os.path.splitext(os.path.basename(path))[0]
    beside = [
        _of_module(os.path.join(folder, name), path, host) for name in os.listdir(folder) if name.endswith(SUFFIX)
    ]
    named = [plugin for plugin in beside if plugin is not None]
    if named:
        # One that is well, that of the module's name if there is one.
        return min(named, key=lambda one: (bool(one.errors), os.path.basename(one.path) != stem + SUFFIX, one.path))
    text = (
        f"[Core]\nName = {stem}\nModule = {path.replace('%', '%%')}\n[main]\nexecute_frequency = 60\n"
        'resource_filter = resource_site LIKE "%%"\n'
    )
    host.warn(
        codes.NO_MODULE_FOR, f"has no `*{SUFFIX}` file beside it: it is run every 60 s against every resource", path
    )
    return Plugin(os.path.join(folder, stem + SUFFIX), _type_of("", text, host, path), text)


def _of_module(info_file: str, module: str, host: Host) -> Plugin | None:
    """Returns the plugin of an info file, if its module is that one."""
    text = host.reads(info_file).decode("utf-8-sig", "replace")
    plugin = Plugin(info_file, _type_of(info_file, text, host, module), text)
    place, _ = _place_of(plugin)
    return plugin if place is not None and os.path.samefile(place.path, module) else None


def _type_of(path: str, text: str, host: Host, module: str = "") -> str:
    """Returns the type of a plugin that was not told: by the folder that it lies in, or by what its module mentions."""
    for type in TYPES:
        for folder in folders.folders_of(host.settings, type):
            if path and f"{os.sep}{folder.strip(os.sep)}{os.sep}" in path:
                return type
    if not module:
        place, _ = _place_of(Plugin(path, "polling", text))
        module = place.path if place is not None else ""
    try:
        source = host.reads(module) if module else b""
    except OSError:
        source = b""
    for type in ("enrichment", "discovery"):
        if modules.BASES[type][1].encode() in source:
            return type
    return "polling"


def _place_of(plugin: Plugin) -> tuple[modules.Place | None, Fault | None]:
    """Returns where the module of a plugin is, and what is to be said of it."""
    if not plugin.module:
        return None, None
    value = plugin.ini.get("Core", "module")
    line, column = (value.line, value.column) if value else (1, 0)
    source = plugin.ini.source(line)
    try:
        place = modules.find(plugin.module, plugin.path)
    except modules.NoModule as error:
        return None, Fault(codes.NO_MODULE_FOR, str(error), plugin.path, line, column, source=source)
    if not place.note:
        return place, None
    return place, Fault(codes.NO_MODULE_FOR, place.note, plugin.path, line, column, severity="warning", source=source)


def _claim(unit: Unit, host: Host, path: str) -> None:
    """Has the module, which may lie anywhere, and what lies beside it count as the user's own in tracebacks."""
    own = guard.user_files(path, [os.path.dirname(path)])
    before = unit.files.is_user

    def is_user(name: str) -> bool:
        return before(name) or own(name)

    unit.files.is_user = is_user
    if hasattr(host, "is_user"):
        host.is_user = is_user


def _try(module: modules.Module, unit: Unit, plugin: Plugin) -> None:
    """Makes an instance as each run will. Raises `loader.Failure`."""
    try:
        _, name = module.instance()
    except loader.Failure:
        raise
    except BaseException as error:
        failure = loader.load_failure(error, unit.files.is_user, "import")
        if isinstance(error, ImportError) and (error.name or "").startswith("yahoo_panoptes"):
            failure.frame["help"] = (
                f"`{error.name}` is a part of Panoptes that does not run here; see docs/panoptes.md, "
                '"What is not there", for what would be needed'
            )
        raise failure from error
    module.forget(name)


def _warn_of_uncalled(path: str, host: Host) -> None:
    from pythond.dialects.panoptes import hints

    for line, text in hints.uncalled(host.reads(path).decode("utf-8", "replace")):
        host.warn(codes.NOT_HERE, text, path, line)


def _shared(host: Host, unit: Unit, plugin: Plugin) -> Shared:
    from pythond.dialects.panoptes import shared as shared_module
    from pythond.dialects.panoptes.store import StoreError

    try:
        shared = shared_module.Shared(host, unit.roots)
    except ImportError as error:
        text = f"this Python has no SQLite, in which plugins share what they know: {error}"
        raise loader.Failure("load", codes.MISSING_MODULE, "ImportError", text, True) from error
    except StoreError as error:
        raise loader.Failure("load", codes.DISK_FULL, "StoreError", str(error), False) from error
    if plugin.type != "discovery":
        faults = shared.read_given()
        errors = [fault for fault in faults if fault.severity == "error"]
        if errors:
            # As with a broken info file: the version that runs goes on with the resources that it has.
            raise _failure(errors[0], errors[1:])
        if unit.parts is None:
            for fault in faults:
                host.warn(fault.code, fault.text, fault.file, fault.line, fault.column)
    return shared


def _as_note(fault: Fault) -> str:
    place = f"{os.path.basename(fault.file)}:{fault.line}" + (f":{fault.column}" if fault.column else "")
    return f"{place}: {fault.text}" + (f"; {fault.help}" if fault.help else "")


def _failure(fault: Fault, others: Sequence[Fault] = ()) -> loader.Failure:
    notes = [_as_note(other) for other in others]
    more: dict[str, Any] = {"notes": notes}
    if fault.file:
        more.update(file=fault.file, line=fault.line, src=fault.source)
    if fault.column:
        # Of a filter it is one place, else the word there.
        word = "" if fault.code == codes.WRONG_FILTER else fault.source[fault.column - 1 :].partition(" ")[0]
        more.update(col=fault.column, end_col=fault.column + max(1, len(word)))
    if fault.help:
        more["help"] = fault.help
    return loader.Failure("find", fault.code, "Fault", fault.text, True, **more)
