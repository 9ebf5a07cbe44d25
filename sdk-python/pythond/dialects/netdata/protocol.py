"""What the original would print for netdata: CHART, DIMENSION, BEGIN, SET, END.

`pythond run --protocol` prints it, so that users and tests can compare. A worker whose input has the setting
`protocol` writes these lines to its standard output and sends no rows. The quoting is the original's, which has none:
a quote in a title breaks the line there, too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping

_RUNTIME = "netdata.runtime_{name}"


def chart(params: Mapping[str, Any], dimensions: Iterable[Mapping[str, Any]], variables: Iterable[Any]) -> str:
    """Returns the definition of a chart with its dimensions and the variables that have a value of their own."""
    lines = [f"{_head(params)} '{params['hidden']}' 'python.d.plugin' '{params['module_name']}'"]
    lines += _label(params["actual_job_name"], 0)
    for one in dimensions:
        options = f"{one['hidden']} {one['obsolete']}"
        shape = f"{one['algorithm']} {one['multiplier']} {one['divisor']}"
        lines.append(f"DIMENSION '{one['id']}' '{one['name']}' {shape} '{options}'")
    lines += [f"VARIABLE CHART '{one.id}' = {one.value}" for one in variables if one.value is not None]
    return "\n".join([*lines, ""])


def obsolete(params: Mapping[str, Any]) -> str:
    """Returns the line that ends a chart."""
    return f"{_head(params)} '{params['hidden']} obsolete'\n"


def _head(params: Mapping[str, Any]) -> str:
    texts = " ".join(f"'{params[key]}'" for key in ("name", "title", "units", "family", "context"))
    place = f"{params['chart_type']} {params['priority']} {params['update_every']}"
    return f"CHART {params['type']}.{params['id']} {texts} {place}"


def _label(job: str, source: int) -> list[str]:
    return [f"CLABEL '_collect_job' '{job}' '{source}'", "CLABEL_COMMIT"]


def update(
    name: str, interval: int, values: Iterable[tuple[Any, int | float]], variables: Iterable[tuple[Any, Any]]
) -> str:
    """Returns the values of a chart; `interval` are the microseconds since its last ones, 0 after a gap."""
    lines = [f"BEGIN {name} {interval}"]
    lines += [f"SET '{id}' = {int(value)}" for id, value in values]
    lines += [f"VARIABLE CHART '{id}' = {value}" for id, value in variables]
    return "\n".join([*lines, "END", ""])


def runtime_chart(name: str, module: str, job: str, update_every: Any) -> str:
    """Returns the definition of the chart of run times that the original makes for each job."""
    head = f"CHART {_RUNTIME.format(name=name)} '' 'Execution time' 'ms' 'python.d' netdata.pythond_runtime"
    lines = [f"{head} line 145000 {update_every} '' 'python.d.plugin' '{module}'"]
    return "\n".join([*lines, *_label(job, 1), "DIMENSION run_time 'run time' absolute 1 1", ""])


def runtime_update(name: str, interval: int, milliseconds: int) -> str:
    """Returns one value of the chart of run times."""
    return f"BEGIN {_RUNTIME.format(name=name)} {interval}\nSET run_time = {milliseconds}\nEND\n"
