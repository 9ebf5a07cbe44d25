"""Loads and ends a unit: the plugins of one process, behind one daemon."""

from __future__ import annotations

import importlib.machinery
import os
import sys

from pythond import codes, guard, loader
from pythond.dialects.collectd import current, extract, log, options, plugins, text
from pythond.dialects.collectd import settings as settings_
from pythond.dialects.collectd.daemon import Daemon
from pythond.dialects.collectd.grammar import Item

SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample", "sample.py")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pythond.dialects import Host, Unit
    from pythond.dialects.collectd.options import Settings
    from pythond.guard import IsUser


def load(unit: Unit, host: Host) -> None:
    """Raises `loader.Failure` where nothing is left to run; a plugin that cannot run does not stop the others."""
    is_listed = isinstance(unit.parts, dict) and "imports" in unit.parts
    wanted = unit.parts["imports"] if is_listed else None
    settings = _settings_of_unit(unit, host) if is_listed else _settings_of_file(unit, host)
    text.names.limit(int(host.settings.get("max_name", text.DEFAULT_NAME_BYTES)))
    name = wanted[0] if wanted and len(wanted) == 1 else _name_of(unit)
    daemon = Daemon(host, settings, name)
    current.attach(daemon)
    # The zygote's own plugin is nobody's.
    log.mute(unit.file == SAMPLE)
    # Also before a plugin's folder could offer another one.
    import collectd  # noqa: F401

    sys.argv[:] = [""]
    others = str(unit.parts.get("folders", "")) if is_listed else ""
    if others:
        sys.meta_path.append(_FolderOfOthers(others))
    is_user = _claim(unit, host, settings, others)
    for replaced in settings.types.replaced:
        daemon.log(log.NOTICE, f"Replacing DS `{replaced}' with another version.")
    is_whole = is_listed and (wanted is None or len(wanted) > 1)
    failures = plugins.run(daemon, settings, wanted, is_user, tells_all=is_whole)
    if not is_listed:
        _tell_unused_blocks(daemon, settings, host)
    if failures and not daemon.has_callbacks():
        raise failures[0]
    for failure in failures:
        said = guard.joined(failure.frame["exc"], failure.frame["msg"])
        place = (failure.frame.get("file", ""), failure.frame.get("line", 0))
        host.warn(failure.frame["code"], f"does not run: {said}\n{failure.frame['tb']}".rstrip(), *place)
    _change_folder(settings)
    daemon.initialize()
    if not daemon.has_callbacks():
        told = "no callback was registered"
        raise loader.Failure("find", codes.NOTHING_TO_RUN, "NoCollector", told, True, file=unit.file)


def _name_of(unit: Unit) -> str:
    """Returns what stands before the log lines of a file that is run by hand, or of several imports."""
    if os.path.basename(unit.file) == "__init__.py":
        return os.path.basename(os.path.dirname(os.path.abspath(unit.file)))
    return unit.module or unit.id


def close(host: Host) -> None:
    """Ends what `load` has begun; nothing where it did not come so far."""
    daemon = current.attached()
    if daemon is not None:
        daemon.close()


def forget() -> None:
    """Ends what `load` has begun without a word to anybody."""
    daemon = current.attached()
    if daemon is not None:
        daemon.abandon()
    current.attach(None)
    log.mute(False)


def _settings_of_unit(unit: Unit, host: Host) -> Settings:
    """Returns what the lister has written down for a unit; all of collectd.conf, where it could not."""
    path = unit.parts.get("settings")
    if path:
        try:
            return settings_.read_extract(host, path, unit.parts["config"])
        except (OSError, ValueError):
            # Of a check that has ended, or of another version.
            pass
    return settings_.read(host, unit.roots)


def _settings_of_file(unit: Unit, host: Host) -> Settings:
    """Returns the settings of a plugin file that is run by hand: its blocks of a collectd.conf, where one is named."""
    settings = settings_.read(host, unit.roots, looks=False)
    path = os.path.abspath(unit.file)
    name = _import_of(path, settings)
    for block in settings.blocks:
        items = block.item.children
        items[:] = [item for item in items if not item.named("Import") or item.text() == name]
    if not name:
        settings.blocks.insert(0, options.Block(_block_of(path), -1))
    # Of a unit that was told, the listing has said it.
    for fault in [*settings.faults, *plugins.faults_in(settings)] if unit.parts is None else ():
        host.warn(fault.code, fault.text, fault.file, fault.line, fault.column)
    return settings


def _import_of(path: str, settings: Settings) -> str:
    """Returns the name under which a collectd.conf imports a file; empty where it does not."""
    from pythond.dialects.collectd import isolation

    folders = [*reversed(plugins.paths_of(settings)), *sys.path]
    for one in plugins.imports_of(settings):
        if os.path.realpath(isolation.found_file(one.name, folders)) == os.path.realpath(path):
            return one.name
    return ""


def _block_of(path: str) -> Item:
    """Returns the `<Plugin python>` that imports a file, or the package whose file it is."""
    folder, name = os.path.split(path)
    if name == "__init__.py":
        folder, name = os.path.split(folder)
    own = Item("Plugin", "", 0, 0, True)
    for key, value in (("ModulePath", folder), ("Import", os.path.splitext(name)[0])):
        item = Item(key, "", 0, 0, False)
        item.values.append(value)
        own.children.append(item)
    return own


def _tell_unused_blocks(daemon: Daemon, settings: Settings, host: Host) -> None:
    """Warns where a plugin that is run by hand is not imported by collectd.conf, and has no block there either."""
    if not settings.blocks or settings.blocks[0].number >= 0:
        return
    names = [name.lower() for name in daemon.registry.config_names()]
    blocks = [item for item in options.module_blocks_of(settings) if item.file]
    if names and blocks and not any((item.text() or "").lower() in names for item in blocks):
        told = f"none of the `<Module>` blocks is for {plugins.shown_names(daemon.registry.config_names())}"
        host.warn(codes.FOR_NOBODY, told, blocks[0].file, blocks[0].line)


class _FolderOfOthers:
    """Finds modules below the `ModulePath`s of all blocks, where nothing else finds them.

    A unit has those that its imports use. A module that a callback imports may lie below another one.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        # A submodule is looked for in its package only.
        return importlib.machinery.PathFinder.find_spec(name, extract.folders_in(self._path)) if path is None else None


def _claim(unit: Unit, host: Host, settings: Settings, others: str) -> IsUser:
    """Has the files below each `ModulePath` count as the user's own: watched, kept, and shown in tracebacks."""
    folders = [os.path.abspath(path) for path in plugins.paths_of(settings)]
    folders += [path for path in extract.folders_in(others) if path not in folders]
    own = guard.user_files(unit.file, folders)
    before = unit.files.is_user

    def is_user(path: str) -> bool:
        return before(path) or own(path)

    unit.files.is_user = is_user
    if hasattr(host, "is_user"):
        host.is_user = is_user
    return is_user


def _change_folder(settings: Settings) -> None:
    """Goes to `BaseDir`, as collectd does before it calls init callbacks; stays where there is none."""
    folder = settings.texts.get("basedir")
    if folder:
        try:
            os.chdir(folder)
        except OSError:
            # Most plugins do not need it.
            pass
