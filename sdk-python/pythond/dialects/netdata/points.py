"""What charts got, as rows for the agent, which does the arithmetic."""

from __future__ import annotations

from pythond.rows import Pattern, Reading, Row, Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

_KINDS = {
    "absolute": "gauge",
    "incremental": "counter",
    "percentage-of-absolute-row": "row_percent",
    "percentage-of-incremental-row": "row_percent_inc",
}
# Whole numbers beyond these are sent as floats.
_INT64 = 1 << 63


class Shapes:
    """What the rows of a job's charts have in common from run to run, made anew where a chart has changed."""

    def __init__(self, module: str, labels: Mapping[str, str], values: str) -> None:
        """`values` is `shown`, `raw` or `both`."""
        self._module = module
        self._labels = labels
        self._values = values
        # By chart: what of it the pattern is made of, and the pattern.
        self._known: dict[Any, tuple[Any, Pattern, list[bool]]] = {}

    def sample(self, update: Any, time_ns: int) -> tuple[Row, bool]:
        """Returns the row of a chart's values, and whether it looks otherwise than that of before."""
        chart = update.chart
        params, found = chart.params, update.values
        shape = (
            chart.name,
            params["family"],
            params["units"],
            params["actual_job_name"],
            params["context"],
            # Of all dimensions, for the name of one depends on the others.
            [(*one.params.values(),) for one in chart.dimensions],
            [dimension.params["id"] for dimension, _ in found],
        )
        known = self._known.get(params["id"])
        is_new = known is None or known[0] != shape
        if known is None or is_new:
            row = row_of(update, self._module, self._labels, self._values)
            pattern = Pattern(row.measurement, row.tags, row.readings)
            known = shape, pattern, [reading.kind == "counter" for reading in row.readings]
            self._known[params["id"]] = known
        numbers = [_exact(value) if is_counter else float(value) for (_, value), is_counter in zip(found, known[2])]
        return Sample(known[1], time_ns, numbers), is_new


def row_of(update: Any, module: str, labels: Mapping[str, str], values: str) -> Row:
    """Returns the row of a chart's values; `values` is `shown`, `raw` or `both`."""
    params = update.chart.params
    tags = {**labels}
    tags["chart"] = str(update.chart.name)
    tags["family"] = str(params["family"])
    tags["units"] = str(params["units"])
    tags["module"] = module
    tags["job"] = str(params["actual_job_name"])
    measurement = str(params["context"]) or f"{module}.{params['id']}"
    dimensions = update.chart.dimensions
    # Of all, also of those without a value now: a field keeps its name.
    fields = dict(zip((one.id for one in dimensions), field_names([one.params for one in dimensions])))
    readings = [_reading(fields[dimension.id], dimension.params, value, values) for dimension, value in update.values]
    return Row(measurement, {key: value for key, value in tags.items() if value}, readings, update.time_ns)


def field_names(dimensions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the fields of dimensions: their names; the later of two of one name takes its id."""
    names: list[str] = []
    for one in dimensions:
        name = str(one["name"]) or str(one["id"]) or "value"
        if name in names:
            name = str(one["id"])
        number = 2
        while name in names:
            name = f"{one['id']}_{number}"
            number += 1
        names.append(name)
    return names


def twins(dimensions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns the names that a dimension could not have, each with the field that it got."""
    names = field_names(dimensions)
    return [
        (str(one["name"]), name) for one, name in zip(dimensions, names) if one["name"] and str(one["name"]) != name
    ]


def _exact(value: int | float) -> int | float:
    """Returns a value that every digit of counts: a counter's."""
    return int(value) if isinstance(value, int) and -_INT64 <= value < _INT64 else float(value)


def _reading(field: str, dimension: Mapping[str, Any], value: int | float, values: str) -> Reading:
    if values == "raw":
        return Reading(field, float(value))
    kind = _KINDS[dimension["algorithm"]]
    scale = 1.0
    if kind in ("gauge", "counter"):
        scale = dimension["multiplier"] / dimension["divisor"]
    more: dict[str, Any] = {"out": "both", "raw_field": f"{field}_raw"} if values == "both" else {}
    if kind == "counter":
        more["wrap"] = "auto"
    return Reading(field, _exact(value) if kind == "counter" else float(value), kind, scale, **more)
