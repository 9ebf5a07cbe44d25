"""Which statements of collectd.conf concern a unit: its own blocks, and what it uses of those of others."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Sequence

    from pythond.dialects import Fault
    from pythond.dialects.collectd.grammar import Item
    from pythond.dialects.collectd.isolation import Seen
    from pythond.dialects.collectd.options import Block, Settings


class Concerns:
    """What concerns the imports of one process, and nothing that is known to be for others only."""

    def __init__(self, names: Collection[str], settings: Settings, seen: dict[str, Seen]) -> None:
        self._names = set(names)
        self._settings = settings
        self._seen = seen
        self._own = [block for block in settings.blocks if any(self._imports(item) for item in block.item.children)]
        # What keeps an import from working may be solved by anything.
        self._fails = any(seen[name].problem for name in self._names)
        self._folders = self._folders_of_others()

    def statements(self) -> list[list[Item]]:
        """Returns the statements of each `<Plugin python>`, in the order of the file."""
        found = [[item for item in block.item.children if self._has(item, block)] for block in self._settings.blocks]
        return [block for block in found if block]

    def own_files(self) -> list[str]:
        """Returns the files of its blocks, and the one that includes them."""
        own = [block.item for block in self._own]
        blocks = [item for block in self.statements() for item in block if item.named("Module")]
        return list(dict.fromkeys(one for one in [self._settings.file, *(item.file for item in own + blocks)] if one))

    def files(self) -> list[str]:
        """Returns all files that its statements stand in, also those of a folder that is another block's."""
        items = (item.file for block in self.statements() for item in block)
        return list(dict.fromkeys([*self.own_files(), *(file for file in items if file)]))

    def has_mistake(self, mistakes: Sequence[Fault]) -> bool:
        """Says whether a mistake is within one of its blocks: it would run without what stands there."""
        blocks = [item for block in self.statements() for item in block if item.named("Module")]
        return any(
            fault.file == item.file and item.line <= fault.line <= item.end_line
            for fault in mistakes
            for item in blocks
            if fault.file
        )

    def _has(self, item: Item, block: Block) -> bool:
        is_own, name = block in self._own, item.text()
        # The other statements of a block are told by a process that has more than one import of it.
        tells = is_own and len(self._names) > 1
        if item.named("ModulePath") and name is not None:
            return is_own or item in self._folders
        if item.named("LogTraces"):
            return is_own
        if item.named("Import") and name is not None:
            return name in self._names
        if not item.named("Module") or name is None:
            return tells
        takers = takers_of(name, self._seen)
        return bool(self._names & takers) if takers else self._fails or tells

    def _folders_of_others(self) -> list[Item]:
        """Returns each `ModulePath` of another block that it needs, once."""
        used = {folder for name in self._names for folder in self._seen[name].folders}
        known = {_folder(item) for block in self._own for item in block.item.children}
        found: list[Item] = []
        for block in self._settings.blocks:
            for item in block.item.children:
                folder = _folder(item)
                if folder and folder not in known and (self._fails or folder in used):
                    known.add(folder)
                    found.append(item)
        return found

    def _imports(self, item: Item) -> bool:
        return item.named("Import") and item.text() in self._names


def takers_of(name: str, seen: dict[str, Seen]) -> set[str]:
    """Returns the imports that have registered a config callback of a name."""
    return {one for one, known in seen.items() if name.lower() in (given.lower() for given in known.config_names)}


def _folder(item: Item) -> str:
    """Returns the folder of a `ModulePath`, else nothing."""
    name = item.text() if item.named("ModulePath") else None
    return os.path.abspath(name) if name else ""
