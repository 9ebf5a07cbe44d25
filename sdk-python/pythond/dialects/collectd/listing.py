"""Tells the units of an input: an import each, or a `<Plugin python>` whose imports need one process."""

from __future__ import annotations

import os
import sysconfig

from pythond import codes, loader
from pythond.dialects import Fault, Listing, ToldUnit
from pythond.dialects.collectd import c_plugins, extract, isolation, options, plugins
from pythond.dialects.collectd import settings as settings_
from pythond.dialects.collectd.concerns import Concerns
from pythond.dialects.collectd.isolation import LISTENERS, Seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Sequence

    from pythond.dialects import Host, Unit
    from pythond.dialects.collectd.extract import Noted
    from pythond.dialects.collectd.options import Settings
    from pythond.dialects.collectd.plugins import Import

_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_ONLY_HERE = "it gets the values of Python plugins only; those of plugins in C do not come here"


def listing(given: Unit, host: Host) -> Listing:
    """Raises `loader.Failure` where there is nothing to read."""
    settings = settings_.read(host, given.roots)
    faults = settings.faults + plugins.faults_in(settings)
    mistakes = [fault for fault in faults if fault.severity == "error"]
    if settings.foreign:
        told = f"not ours: {', '.join(settings.foreign)}"
        faults.append(Fault(codes.FOREIGN_VALUE, told, settings.file, severity="warning"))
    imports = plugins.imports_of(settings)
    seen = isolation.look(settings, imports, _is_foreign) if imports else {}
    imports = _without_c_plugins(imports, seen, faults)
    _watch(settings, seen, host)
    faults += _blocks_for_nobody(settings, imports, seen)
    isolation_ = host.isolation or "auto"
    groups = _groups(imports, seen, isolation_, faults)
    is_noted = bool(settings.file and host.state_dir)
    before = extract.noted(settings.file, isolation_, host.state_dir) if is_noted else []
    wrong = {fault.file for fault in mistakes}
    stay = [one for one in before if wrong.intersection(one.files)]
    units = _units(host.input or "collectd", groups, seen, settings, before, stay)
    units = _without_mistakes(units, [one.unit for one in stay], settings, seen, mistakes)
    if is_noted:
        _write(units, stay, settings, seen, host, faults)
    return Listing(units, sorted(faults, key=lambda one: (one.file != settings.file, one.file, one.line, one.column)))


def of_file(given: Unit, host: Host) -> Listing:
    """Tells a plugin file as the only unit, and what is wrong in the collectd.conf that configures it."""
    settings = settings_.read(host, given.roots, looks=False)
    parts: dict[str, list[str]] = {}
    id, (folder, name) = given.id, os.path.split(os.path.abspath(given.file))
    if name == "__init__.py":
        # A package is known by the name of its folder.
        id = f"{given.id.rpartition('.')[0]}.{os.path.basename(folder)}"
    return Listing([ToldUnit(id, "", given.file, parts=parts)], settings.faults + plugins.faults_in(settings))


def _without_mistakes(
    units: Sequence[ToldUnit],
    stay: Sequence[ToldUnit],
    settings: Settings,
    seen: dict[str, Seen],
    mistakes: Sequence[Fault],
) -> list[ToldUnit]:
    """Puts the units that stay as they were noted in place of what a file with a mistake makes of them.

    What was not there before runs, unless the mistake is in a block of its own.
    """
    kept = {name for unit in stay for name in unit.parts["imports"]}
    left = [
        unit
        for unit in units
        if not kept.intersection(unit.parts["imports"])
        and not Concerns(unit.parts["imports"], settings, seen).has_mistake(mistakes)
    ]
    order = [name for unit in units for name in unit.parts["imports"]]
    place = {name: number for number, name in enumerate(order)}
    return sorted([*stay, *left], key=lambda unit: place.get(unit.parts["imports"][0], len(order)))


def _write(
    units: Sequence[ToldUnit],
    stay: Sequence[Noted],
    settings: Settings,
    seen: dict[str, Seen],
    host: Host,
    faults: list[Fault],
) -> None:
    """Writes down what each unit needs of collectd.conf, and the listing; of those that stay it is there."""
    folder = host.state_dir
    listed = {one.unit.id: one for one in stay}
    try:
        folders = extract.write_folders([os.path.abspath(path) for path in plugins.paths_of(settings)], folder)
        for unit in units:
            if unit.id in listed:
                continue
            concerns = Concerns(unit.parts["imports"], settings, seen)
            path = extract.write(settings, unit.id, folder, concerns.statements())
            unit.parts.update(settings=path, config=settings.file, folders=folders)
            unit.reads = [*unit.reads, path]
            listed[unit.id] = extract.Noted(unit, concerns.files())
        extract.note([listed[unit.id] for unit in units], settings.file, host.isolation or "auto", folder)
    except OSError as error:
        told = f"cannot write {folder}: {error.strerror or error}; each change of this file restarts all of its plugins"
        faults.append(Fault(codes.FOREIGN_VALUE, told, settings.file, severity="warning"))


def _is_foreign(path: str) -> bool:
    """Says whether a file is the standard library's or an installed package's: shared by all without harm."""
    installed = "site-packages" + os.sep in path or "dist-packages" + os.sep in path
    return installed or path.startswith((_STANDARD, sysconfig.get_paths()["stdlib"] + os.sep, loader.CORE + os.sep))


def _without_c_plugins(imports: list[Import], seen: dict[str, Seen], faults: list[Fault]) -> list[Import]:
    """Leaves out imports that are no modules but collectd's plugins in C."""
    left: list[Import] = []
    for one in imports:
        if seen[one.name].problem == f"ModuleNotFoundError:{one.name}" and one.name in c_plugins.NAMES:
            told = f"`{one.name}` is a plugin of collectd in C, no Python module"
            place = (one.item.file, one.item.line, one.item.columns[0] if one.item.columns else 0)
            faults.append(Fault(codes.FOREIGN_VALUE, told, *place, help=f"`LoadPlugin {one.name}` in collectd itself"))
        else:
            left.append(one)
    return left


def _watch(settings: Settings, seen: dict[str, Seen], host: Host) -> None:
    """Has the listing be repeated when a plugin changes or comes: it may listen from then on."""
    for path in dict.fromkeys(path for one in seen.values() for path in one.files):
        try:
            host.reads(path)
        except OSError:
            # Gone since; its folder is watched.
            pass
    for folder in dict.fromkeys(plugins.paths_of(settings)):
        if os.path.isdir(folder):
            host.looks(folder)


def _blocks_for_nobody(settings: Settings, imports: Sequence[Import], seen: dict[str, Seen]) -> list[Fault]:
    """Finds `<Module>` blocks without a plugin, and those that stand before their `Import`."""
    faults: list[Fault] = []
    known = [name for one in imports for name in seen[one.name].config_names]
    # Whoever cannot be imported now may want the block later.
    failing = [one.name.lower() for one in imports if seen[one.name].problem]
    order = {name.lower(): one for one in reversed(imports) for name in seen[one.name].config_names}
    position = {id(item): number for number, item in enumerate(_statements(settings))}
    for item in options.module_blocks_of(settings):
        name = item.text() or ""
        place = (item.file, item.line, item.columns[0] if item.columns else item.column)
        if name.lower() in order:
            needed = order[name.lower()].item
            if position[id(item)] < position[id(needed)]:
                told = f'`<Module {name}>` stands before `Import "{order[name.lower()].name}"` and goes to nobody'
                faults.append(
                    Fault(codes.FOR_NOBODY, told, *place, severity="warning", help="put it behind the `Import`")
                )
        elif not any(name.lower() in one or one in name.lower() for one in failing):
            faults.append(Fault(codes.FOR_NOBODY, plugins.nobody_for(name, known), *place, severity="warning"))
    return faults


def _statements(settings: Settings) -> list[object]:
    return [item for block in settings.blocks for item in block.item.children]


def _groups(
    imports: Sequence[Import], seen: dict[str, Seen], how: str, faults: list[Fault]
) -> list[tuple[list[Import], str]]:
    """Returns the imports of each process, and why several have one."""
    groups: list[tuple[list[Import], str]] = []
    for number in dict.fromkeys(one.block for one in imports):
        block = [one for one in imports if one.block == number]
        if how == "auto":
            # What ends its process at once must not end that of others.
            groups += [([one], "") for one in block if seen[one.name].problem == isolation.ENDED]
            block = [one for one in block if seen[one.name].problem != isolation.ENDED]
        why = "" if how == "import" else 'isolation = "block"' if how == "block" else _why_together(block, seen)
        _tell_listeners(block, seen, faults, is_split=how == "import")
        if why and len(block) > 1:
            groups.append((block, why))
        else:
            groups += [([one], "") for one in block]
    return _joined(groups, seen) if how == "auto" else groups


def _why_together(block: Sequence[Import], seen: dict[str, Seen]) -> str:
    for one in block:
        for kind, verb in LISTENERS.items():
            if kind in seen[one.name].kinds:
                what = {"write": "what the others dispatch", "notification": "the others' notifications"}
                return f"`{one.name}` {verb} {what.get(kind, 'for the others')}"
    names = [one.name for one in block]
    for one in block:
        for other in seen[one.name].shares:
            if other in names:
                return f"`{one.name}` and `{other}` share a module that holds state"
    return ""


def _joined(groups: list[tuple[list[Import], str]], seen: dict[str, Seen]) -> list[tuple[list[Import], str]]:
    """Joins groups of several blocks that share a module which holds state."""
    joined: list[tuple[list[Import], str]] = []
    for group, why in groups:
        shares = {(one.name, other) for one in group for other in seen[one.name].shares}
        for place, (earlier, _) in enumerate(joined):
            pair = next(((own, other) for own, other in shares if any(one.name == other for one in earlier)), None)
            if pair is not None:
                told = f"`{pair[0]}` and `{pair[1]}` share a module that holds state"
                joined[place] = (earlier + group, joined[place][1] or why or told)
                break
        else:
            joined.append((group, why))
    return joined


def _tell_listeners(block: Sequence[Import], seen: dict[str, Seen], faults: list[Fault], is_split: bool) -> None:
    for one in block:
        if "write" in seen[one.name].kinds:
            only = 'it gets the values of its own process only (`isolation = "import"`)' if is_split else _ONLY_HERE
            place = (one.item.file, one.item.line, one.item.columns[0] if one.item.columns else 0)
            faults.append(
                Fault(codes.FOREIGN_VALUE, f"`{one.name}` has a write callback: {only}", *place, severity="warning")
            )


def _units(
    prefix: str,
    groups: Sequence[tuple[list[Import], str]],
    seen: dict[str, Seen],
    settings: Settings,
    before: Sequence[Noted],
    stay: Sequence[Noted],
) -> list[ToldUnit]:
    """Returns a unit for each process. One of several imports keeps its id, whatever blocks come before it."""
    known = {tuple(sorted(one.unit.parts["imports"])): one.unit.id for one in before}
    taken = {one.unit.id for one in stay} | {known[_names(group)] for group, _ in groups if _names(group) in known}
    units: list[ToldUnit] = []
    for group, why in groups:
        id = f"{prefix}.{group[0].name}"
        if len(group) > 1:
            id = known.get(_names(group)) or _id_of_block(prefix, group[0].block, taken)
            taken.add(id)
        units.append(_unit(id, group, why, seen, settings))
    return units


def _id_of_block(prefix: str, block: int, taken: Collection[str]) -> str:
    """Returns the id that has a block's number, from 1, or the next one that is free."""
    number = block + 1
    while f"{prefix}.block{number if number > 1 else ''}" in taken:
        number += 1
    return f"{prefix}.block{number if number > 1 else ''}"


def _names(group: Sequence[Import]) -> tuple[str, ...]:
    return tuple(sorted(one.name for one in group))


def _unit(id: str, group: Sequence[Import], why: str, seen: dict[str, Seen], settings: Settings) -> ToldUnit:
    first = group[0]
    names = [one.name for one in group]
    files = Concerns(names, settings, seen).own_files()
    reads = list(dict.fromkeys([*files, *(path for name in names for path in seen[name].files)]))
    # Its place in collectd.conf changes with any line above.
    file = seen[first.name].file or first.item.file
    if len(group) > 1:
        title = f"{', '.join(names)}; one process: {why}"
        return ToldUnit(id, title, file, reads=reads, parts={"imports": names})
    title = f"Import {first.name}" if "." in first.name else ""
    line = 0 if seen[first.name].file else first.item.line
    return ToldUnit(id, title, file, line, reads=reads, parts={"imports": names})
