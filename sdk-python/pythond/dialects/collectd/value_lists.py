"""Value lists: the numbers that a plugin dispatches, checked and converted as the original does it."""

from __future__ import annotations

from pythond.dialects.collectd.data_sets import RANGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

    from pythond.dialects.collectd.data_sets import DataSet
    from pythond.dialects.collectd.text import Text


class ValueList:
    """Values as they were dispatched, on their way to write callbacks."""

    __slots__ = (
        "at",
        "context_interval",
        "host",
        "interval",
        "meta",
        "plugin",
        "plugin_instance",
        "type",
        "type_instance",
        "values",
    )

    def __init__(
        self,
        type: Text,
        values: Sequence[float],
        plugin_instance: Text,
        type_instance: Text,
        plugin: Text,
        host: Text,
        at: float,
        interval: float,
        meta: Mapping[Text, Any],
        context_interval: float | None,
    ) -> None:
        self.type = type
        self.values = values
        self.plugin_instance = plugin_instance
        self.type_instance = type_instance
        self.plugin = plugin
        self.host = host
        self.at = at
        self.interval = interval
        self.meta = meta
        self.context_interval = context_interval


# A time that fits 64 bits of nanoseconds.
FAR = 9.2e9


# What of an interval fits collectd's 64 bits of 2^-30 seconds.
_LEAST_INTERVAL, _MOST_INTERVAL = 2.0**-30, 2.0**34


def is_interval(seconds: float) -> bool:
    """Says whether a number can be an interval; what cannot is as none at all."""
    return _LEAST_INTERVAL <= seconds < _MOST_INTERVAL


def nanoseconds(at: float) -> int:
    whole = int(at)
    return whole * 1_000_000_000 + round((at - whole) * 1e9)


def numbers_of(type: str, data_set: DataSet, values: Sequence[Any]) -> list[Any]:
    """Returns the numbers of a value list: float for a gauge, else int. Raises what the original raises."""
    if len(values) != len(data_set):
        raise RuntimeError(f"type {type} needs {len(data_set)} values, got {len(values)}")
    if len(values) == 1 and data_set[0].kind == "gauge":
        return [float(values[0])]
    return [float(value) if one.kind == "gauge" else _whole(one.kind, value) for one, value in zip(data_set, values)]


def _whole(kind: str, value: Any) -> int:
    number = int(value)
    low, high = RANGES[kind]
    if number < low:
        raise OverflowError("can't convert negative int to unsigned" if low == 0 else "int too big to convert")
    if number > high:
        raise OverflowError("int too big to convert")
    return number
