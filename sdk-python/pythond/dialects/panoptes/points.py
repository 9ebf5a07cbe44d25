"""Metrics groups as rows: names and tags as the original's InfluxDB consumer has them."""

from __future__ import annotations

import math
import re

from pythond.dialects.panoptes.transforms import GAP_INTERVALS
from pythond.rows import Reading, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from pythond.dialects.panoptes.transforms import Transforms
    from yahoo_panoptes.framework.metrics import PanoptesMetric, PanoptesMetricsGroup

    # Text, and the line of the transform that it is about, 0 if it is about none.
    Warn = Callable[[str, int], None]

_COUNTER = 1
_RESOURCE_TAGS = ("resource_class", "resource_endpoint", "resource_site", "resource_subclass", "resource_type")


def row(group: PanoptesMetricsGroup, transforms: Transforms, with_id: bool, warn: Warn) -> tuple[Row | None, int]:
    """Returns a group as a row, None where nothing of it can be one, and how many metrics were left out."""
    rated = _rated(group, transforms, warn)
    readings = []
    left_out = 0
    for metric in group.metrics:
        if not _is_number(metric.metric_value):
            left_out += 1
            warn(f"metric `{metric.metric_name}` of `{group.group_type}` is no number that a point can hold", 0)
            continue
        readings.append((_field(metric), _reading(metric, group.interval, metric.metric_name in rated)))
    if not readings:
        return None, left_out
    # In the order of the fields, as the original writes them; that of the metrics differs in `a` and `a1`.
    ordered = [reading for _, reading in sorted(readings, key=lambda pair: pair[0])]
    tags = {one.name: one.value for one in group.dimensions}
    resource = group.resource
    tags.update((name, getattr(resource, name)) for name in _RESOURCE_TAGS)
    if with_id:
        tags["resource_id"] = resource.resource_id
    measurement = re.sub(r"[^0-9a-zA-Z_]+", "_", group.group_type)
    return Row(measurement, tags, ordered, _time_ns(group, rated)), left_out


def _field(metric: PanoptesMetric) -> str:
    return f"{metric.metric_name}__{'counter' if metric.metric_type == _COUNTER else 'gauge'}"


def _reading(metric: PanoptesMetric, interval: int, has_rate: bool) -> Reading:
    name = _field(metric)
    if not has_rate:
        return Reading(name, metric.metric_value)
    return Reading(
        f"{metric.metric_name}__gauge",
        metric.metric_value,
        kind="counter",
        out="both",
        raw_field=name,
        round="truncate",
        max_gap=float(GAP_INTERVALS * interval),
        late="replace",
    )


def _time_ns(group: PanoptesMetricsGroup, rated: set[str]) -> int:
    """Returns the time of the group in whole seconds, as the original has it.

    A row with rates has the time of the counters, in milliseconds: the original counts from that, and the agent has
    no other than the row's. Whole seconds would make a rate wrong by up to one part in sixty at a minute.
    """
    if not rated:
        return int(group.creation_timestamp) * 1_000_000_000
    at = max(metric.metric_timestamp for metric in group.metrics if metric.metric_name in rated)
    return round(at * 1000) * 1_000_000


def _rated(group: PanoptesMetricsGroup, transforms: Transforms, warn: Warn) -> set[str]:
    """Returns the metrics that get a rate; a transform that fits none is said, and the group stays as it is."""
    wanted = transforms.of(group.group_type)
    if not wanted:
        return set()
    types: dict[str, set[int]] = {}
    for metric in group.metrics:
        types.setdefault(metric.metric_name, set()).add(metric.metric_type)
    for name, line in wanted.items():
        if name not in types:
            known = ", ".join(sorted(types)) or "none"
            warn(f"no rate of `{name}`: `{group.group_type}` has no such metric, but {known}", line)
        elif types[name] != {_COUNTER}:
            warn(f"no rate of `{name}`: it is a gauge already, and the rate would have its name", line)
    return {name for name in wanted if types.get(name) == {_COUNTER}}


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
