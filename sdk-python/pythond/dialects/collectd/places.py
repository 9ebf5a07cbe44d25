"""Where a `<Module>` block stands, for a unit that knows it without its place."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pythond.dialects.collectd.grammar import Item
    from pythond.dialects.collectd.options import Settings


def of(item: Item, settings: Settings) -> tuple[str, int, int]:
    """Returns file, line and column as collectd.conf is now; an empty file where it is in there no more."""
    if item.file or not settings.file:
        return item.file, item.line, item.column
    from pythond.dialects.collectd import extract, include, options  # few need it

    now = options.Settings()
    try:
        now.blocks = options.blocks_of(include.read(settings.file, _Files(), []))
    except OSError:
        return "", 0, 0
    same = [one for one in options.module_blocks_of(now) if (one.text() or "").lower() == (item.text() or "").lower()]
    # One that has changed meanwhile is better than none.
    same.sort(key=lambda one: extract.plain(one) != extract.plain(item))
    return (same[0].file, same[0].line, same[0].column) if same else ("", 0, 0)


class _Files:
    """Reads without having anything watched."""

    def reads(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def looks(self, folder: str) -> list[str]:
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
