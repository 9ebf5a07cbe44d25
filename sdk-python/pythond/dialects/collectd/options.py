"""What has been read of a collectd.conf for Python plugins, and the keys of an input: plain values."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Mapping, Sequence

    from pythond.dialects import Fault
    from pythond.dialects.collectd.data_sets import Types
    from pythond.dialects.collectd.grammar import Item

# Global options that say something to us.
NUMBERS = {
    "interval": 10.0,
    "maxreadinterval": 86400.0,
    "readthreads": 5.0,
    "writethreads": 5.0,
    "writequeuelimithigh": 0.0,
    "timeout": 2.0,
}


class Shape:
    """How value lists become rows."""

    __slots__ = ("is_split", "meta_tags", "out", "timeout", "with_dimensions")

    def __init__(self, keys: Mapping[str, Any], timeout: float = 2.0) -> None:
        rates = keys.get("store_rates", False)
        self.is_split = keys.get("mapping", "join") == "split"
        self.out = "both" if rates == "both" else "rate" if rates else "raw"
        self.with_dimensions = bool(keys.get("dimensions_from_plugin_instance", True))
        self.meta_tags = tuple(keys.get("meta_tags") or ())
        # So many intervals without a value, and a rate begins anew.
        self.timeout = timeout


class Block:
    """A `<Plugin python>`: its statements, and the number of the block."""

    __slots__ = ("item", "number")

    def __init__(self, item: Item, number: int) -> None:
        self.item = item
        self.number = number


class Settings:
    """Everything that an input has, read at once."""

    def __init__(self) -> None:
        self.file = ""
        self.blocks: list[Block] = []
        self.numbers = dict(NUMBERS)
        self.texts: dict[str, str] = {}
        # The same as the file has them, before an input's own keys.
        self.said_numbers: dict[str, float] = {}
        self.said_texts: dict[str, str] = {}
        self.load_interval = 0.0
        # What `Interval` was when Python was loaded; 0: nothing tells.
        self.interval_at_load = 0.0
        self.flush_interval = 0.0
        self.flush_timeout = 0.0
        self.is_loaded = False
        # `AutoLoadPlugin`: its block loads Python.
        self.loads_itself = False
        self.types: Types
        self.types_files: list[str] = []
        self.shape: Shape
        self.faults: list[Fault] = []
        self.foreign: list[str] = []
        self.reads: list[str] = []

    @property
    def interval(self) -> float:
        """The interval of callbacks that have none of their own."""
        return self.load_interval or self.interval_at_load or self.numbers["interval"]


def blocks_of(items: Sequence[Item]) -> list[Block]:
    """Returns the `<Plugin python>` blocks among root items."""
    return [Block(item, number) for number, item in enumerate(filter(is_for_python, items))]


def is_for_python(item: Item) -> bool:
    first = item.values[0] if item.values else None
    return item.named("Plugin") and isinstance(first, str) and first.lower() == "python"


def module_blocks_of(settings: Settings) -> Iterator[Item]:
    """Returns all `<Module name>` blocks with a name."""
    for block in settings.blocks:
        for item in block.item.children:
            if item.named("Module") and item.text() is not None:
                yield item
