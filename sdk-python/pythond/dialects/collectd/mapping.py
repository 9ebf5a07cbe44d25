"""How value lists become rows, and notifications events."""

from __future__ import annotations

import json
import math
import re
from math import isfinite

from pythond import sources
from pythond.dialects.collectd import text
from pythond.rows import Pattern, Reading, Row, Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

    from pythond.dialects.collectd.data_sets import DataSet, DataSource
    from pythond.dialects.collectd.options import Shape
    from pythond.dialects.collectd.text import Text

_DIMENSIONS = re.compile(r"([^\[\]]*)\[([^\[\]]*)(\]?)")
STATUS = {1: "critical", 2: "warning", 4: "ok"}
SEVERITIES = {1: "FAILURE", 2: "WARNING", 4: "OKAY"}


class Series:
    """What all value lists of one identity have in common."""

    __slots__ = ("interval", "patterns", "plugin", "seen", "tags", "time")

    def __init__(self, plugin: str, tags: dict[str, str]) -> None:
        self.plugin = plugin
        self.tags = tags
        # Of the last value list that was not too old: its own time, its interval, and when it came.
        self.time = -math.inf
        self.interval = 0.0
        self.seen = 0.0
        # Of its rows, while the interval stays the same.
        self.patterns: list[Pattern] = []


def tags_of(
    host: str, plugin_instance: str, type: str, type_instance: str, most: int, with_dimensions: bool
) -> dict[str, str]:
    """Returns the tags of an identity. `most`: bytes of a name, at which dimensions may have been cut."""
    dimensions: dict[str, str] = {}
    if with_dimensions and "[" in plugin_instance:
        plugin_instance, dimensions = split_dimensions(plugin_instance, most)
    tags = {"host": host}
    for key, value in (("instance", plugin_instance), ("type", type), ("type_instance", type_instance)):
        if value:
            tags[key] = value
    for key, value in dimensions.items():
        # What collectd itself says of a value is not overridden.
        tags[f"dimension_{key}" if key in ("host", "instance", "type", "type_instance") else key] = value
    return tags


def split_dimensions(name: str, most: int) -> tuple[str, dict[str, str]]:
    """Returns `inst` and the dimensions of `inst[k=v,k2=v2]`; a name of another form stays whole.

    Of a name that was cut at `most` bytes the last dimension may be shorter than it was, and the bracket is missing.
    """
    found = _DIMENSIONS.fullmatch(name)
    if found is None or not (found.group(3) or len(name.encode("utf-8", "replace")) >= most - 3):
        return name, {}
    dimensions: dict[str, str] = {}
    parts = found.group(2).split(",")
    if not found.group(3) and "=" not in parts[-1]:
        parts.pop()
    for part in parts:
        key, is_there, value = part.partition("=")
        if not is_there or not key.strip():
            return name, {}
        if value:
            dimensions[key.strip()] = value
    return found.group(1), dimensions


def rows_of(
    series: Series,
    data_set: DataSet,
    values: Sequence[float],
    time_ns: int | None,
    interval: float,
    meta: Mapping[Text, Any],
    shape: Shape,
) -> list[Row]:
    """Returns the rows of a value list, without gauges that are no finite numbers; none where nothing is left."""
    if time_ns is None or (shape.meta_tags and meta) or not all(map(isfinite, values)):
        return _uncommon_rows(series, data_set, values, time_ns, interval, meta, shape)
    patterns = series.patterns
    if not patterns or patterns[0].interval != interval:
        like = _uncommon_rows(series, data_set, values, time_ns, interval, {}, shape)
        patterns = series.patterns = [Pattern(row.measurement, row.tags, row.readings, interval) for row in like]
    if shape.is_split:
        return [Sample(pattern, time_ns, (float(value),)) for pattern, value in zip(patterns, values)]
    return [Sample(patterns[0], time_ns, values)]


def _uncommon_rows(
    series: Series,
    data_set: DataSet,
    values: Sequence[float],
    time_ns: int | None,
    interval: float,
    meta: Mapping[Text, Any],
    shape: Shape,
) -> list[Row]:
    """Returns the rows of a value list that has not all that its series has, or more."""
    tags = series.tags
    if shape.meta_tags and meta:
        tags = {**tags, **_meta_tags(meta, shape.meta_tags)}
    there = [(one, value) for one, value in zip(data_set, values) if one.kind != "gauge" or isfinite(value)]
    if not shape.is_split:
        readings = [_reading(one, one.name, value, interval, shape) for one, value in there]
        return [Row(series.plugin, tags, readings, time_ns, interval)] if readings else []
    return [
        Row(
            f"{series.plugin}_{one.name}",
            tags,
            [_reading(one, "value", float(value), interval, shape)],
            time_ns,
            interval,
        )
        for one, value in there
    ]


def _reading(one: DataSource, field: str, value: float, interval: float, shape: Shape) -> Reading:
    if one.kind == "gauge":
        return Reading(field, value)
    # Telegraf, after which a split is made, has floats only.
    raw_type = "float" if shape.is_split else "integer"
    if shape.out == "raw":
        return Reading(field, value, one.kind, out="raw", raw_field=field, raw_type=raw_type)
    rate, raw = (f"{field}_rate", field) if shape.out == "both" else (field, "")
    wrap = "auto" if one.kind == "counter" else None
    gap = shape.timeout * interval if interval > 0 else None
    return Reading(
        rate,
        value,
        one.kind,
        wrap=wrap,
        out=shape.out,
        raw_field=raw,
        raw_type=raw_type if raw else "float",
        min=one.min,
        max=one.max,
        max_gap=gap,
    )


def _meta_tags(meta: Mapping[Text, Any], wanted: Sequence[str]) -> dict[str, str]:
    lower = {text.shown(key).lower(): value for key, value in meta.items()}
    return {key: _shown_meta(lower[key.lower()]) for key in wanted if _shown_meta(lower.get(key.lower(), ""))}


def _shown_meta(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return text.shown(value) if isinstance(value, (str, bytes)) else str(value)


def event_of(
    identity: Mapping[str, str], severity: int, message: str, time_ns: int, interval: float, meta: Mapping[Text, Any]
) -> bytes:
    """Returns the body of the key event that a notification becomes; `identity` has host, plugin and so on."""
    tags = {key: value for key, value in identity.items() if value}
    name = "\0".join((*(f"{key}={value}" for key, value in tags.items()), str(time_ns)))
    fields: dict[str, Any] = {
        "df_source": "monitor",
        "df_status": STATUS.get(severity, "info"),
        "df_date_range": max(0, round(interval)),
        "df_event_id": f"event-{sources.sum_of(name.encode('utf-8', 'replace'))}",
        "df_title": message.split("\n", 1)[0].strip() or f"{tags.get('plugin', '')} {tags.get('type', '')}".strip(),
        "df_message": message,
        "df_dimension_tags": json.dumps(tags, ensure_ascii=False),
    }
    for key, value in meta.items():
        if isinstance(value, float) and not isfinite(value):
            continue
        shown = text.shown(value) if isinstance(value, bytes) else value
        fields[f"meta_{text.shown(key)}"] = int(shown) if type(shown) not in (bool, float, str) else shown
    point = {"measurement": "notification", "tags": tags, "fields": fields, "time": time_ns}
    return json.dumps([point], ensure_ascii=False).encode("utf-8", "replace")


def name_of(host: str, plugin: str, plugin_instance: str, type: str, type_instance: str) -> str:
    """Returns an identity as collectd writes it: `host/plugin-instance/type-instance`."""
    first = f"{plugin}-{plugin_instance}" if plugin_instance else plugin
    second = f"{type}-{type_instance}" if type_instance else type
    return f"{host}/{first}/{second}"


def cleaned(name: Text) -> Text:
    """Returns a part of an identity without slashes: they separate the parts."""
    if isinstance(name, bytes):
        return text.decoded(_cleaned(name.decode("latin-1")).encode("latin-1")) if b"/" in name else name
    return _cleaned(name) if "/" in name else name


def _cleaned(name: str) -> str:
    if name == "/":
        return "root"
    return (name[1:] if name.startswith("/") else name).replace("/", "_")
