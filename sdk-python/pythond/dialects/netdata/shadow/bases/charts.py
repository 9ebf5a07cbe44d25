"""Charts, dimensions and variables as modules make and change them.

A chart that got values keeps them as an `Update` until the job takes them (`Charts.take`) and makes rows of them.
Where netdata's protocol is wanted (`pythond run --protocol`), a chart prints what the original would, at the same
moments: its definition before its first values and after each change, its end at once.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Iterator

from bases.collection import safe_print
from pythond import codes
from pythond.dialects.netdata import link as links
from pythond.dialects.netdata import protocol, values

__all__ = (
    "CHART_PARAMS",
    "CHART_TYPES",
    "DIMENSION_ALGORITHMS",
    "DIMENSION_PARAMS",
    "Chart",
    "ChartError",
    "ChartFlags",
    "ChartVariable",
    "Charts",
    "Dimension",
    "DuplicateItemError",
    "ItemTypeError",
    "ItemValueError",
    "safe_print",
)

CHART_PARAMS = ["type", "id", "name", "title", "units", "family", "context", "chart_type", "hidden"]
DIMENSION_PARAMS = ["id", "name", "algorithm", "multiplier", "divisor", "hidden"]
VARIABLE_PARAMS = ["id", "value"]
CHART_TYPES = ["line", "area", "stacked"]
DIMENSION_ALGORITHMS = ["absolute", "incremental", "percentage-of-absolute-row", "percentage-of-incremental-row"]


class ChartError(Exception):
    """A chart, a dimension or a variable that is not as it should be."""


class DuplicateItemError(ChartError):
    """An id that is there already."""


class ItemTypeError(ChartError):
    """Something other than a list."""


class ItemValueError(ChartError):
    """A list that is too short."""


class Update:
    """The values that a chart got in one run."""

    __slots__ = ("chart", "time_ns", "values")

    def __init__(self, chart: Chart, found: list[tuple[Dimension, int | float]]) -> None:
        self.chart = chart
        self.values = found
        self.time_ns = time.time_ns()


class Charts:
    """The charts of a `Service`, by their ids, in the order in which they were added."""

    def __init__(
        self,
        job_name: Callable[[], Any],
        actual_job_name: Any,
        priority: int,
        cleanup: int,
        get_update_every: Callable[[], Any],
        module_name: str,
    ) -> None:
        """`job_name` tells the type of the next chart, `priority` its place on a dashboard."""
        self.job_name = job_name
        self.actual_job_name = actual_job_name
        self.priority = priority
        self.cleanup = cleanup
        self.get_update_every = get_update_every
        self.module_name = module_name
        self.charts: dict[Any, Chart] = {}
        self._updates: list[Update] = []
        self._link = links.current()

    def __len__(self) -> int:
        return len(self.charts)

    def __iter__(self) -> Iterator[Chart]:
        return iter(self.charts.values())

    def __repr__(self) -> str:
        return f"Charts({self})"

    def __str__(self) -> str:
        return str([str(id) for id in self.charts])

    def __contains__(self, id: Any) -> bool:
        return id in self.charts

    def __getitem__(self, id: Any) -> Chart:
        return self.charts[id]

    def __delitem__(self, id: Any) -> None:
        del self.charts[id]

    def __bool__(self) -> bool:
        return bool(self.charts)

    def active_charts(self) -> list[Any]:
        """Returns the ids of all charts that are not obsoleted."""
        return [chart.id for chart in self if not chart.flags.obsoleted]

    def add_chart(self, params: list[Any]) -> Chart:
        """Adds `[id, name, title, units, family, context, chart_type(, hidden)]`; a chart of that id is replaced.

        Raises `ItemValueError` for a list that is too short.
        """
        chart = Chart([self.job_name(), *_list(params)], self)
        chart.params["update_every"] = self.get_update_every()
        chart.params["priority"] = self.priority
        chart.params["module_name"] = self.module_name
        chart.params["actual_job_name"] = self.actual_job_name
        self.priority += 1
        self.charts[chart.id] = chart
        return chart

    def take(self) -> list[Update]:
        """Returns the values that charts got since this was called last."""
        taken, self._updates = self._updates, []
        return taken


def _list(params: Any) -> list[Any]:
    """Raises `TypeError` in the words that modules saw."""
    if not isinstance(params, list):
        raise TypeError(f'can only concatenate list (not "{type(params).__name__}") to list')
    return params


class ChartFlags:
    """What became of a chart."""

    def __init__(self) -> None:
        # Its definition has changed, or was never told.
        self.push = True
        self.created = False
        # It got a value in the last run.
        self.updated = False
        self.obsoleted = False


class Chart:
    """A chart; all of its parameters are attributes, too."""

    def __init__(self, params: list[Any], charts: Charts | None = None) -> None:
        """`params` as in `CHART_PARAMS`. Raises `ItemTypeError` and `ItemValueError`."""
        if not isinstance(params, list):
            raise ItemTypeError("'chart' must be a list type")
        if len(params) < len(CHART_PARAMS) - 1:
            raise ItemValueError(f"invalid value for 'chart', must be {CHART_PARAMS}")
        self.params: dict[str, Any] = dict(zip(CHART_PARAMS, (value or "" for value in [*params, ""])))
        self.name = f"{self.params['type']}.{self.params['id']}"
        if self.params["chart_type"] not in CHART_TYPES:
            self.params["chart_type"] = "absolute"
        self.params["hidden"] = "hidden" if self.params["hidden"] == "hidden" else ""
        self.dimensions: list[Dimension] = []
        self.variables: set[ChartVariable] = set()
        self.flags = ChartFlags()
        # Runs in a row without a value.
        self.penalty = 0
        self._charts = charts
        self._link = links.current() if charts is None else charts._link

    def __getattr__(self, item: str) -> Any:
        try:
            return self.__dict__["params"][item]
        except KeyError:
            raise AttributeError(f"'{self!r}' has no attribute '{item}'") from None

    def __contains__(self, dimension_id: Any) -> bool:
        return dimension_id in [dimension.params["id"] for dimension in self.dimensions]

    def __iter__(self) -> Iterator[Dimension]:
        # Not of a copy: a module that deletes while it goes through them passes over the next one, as in netdata.
        return iter(self.dimensions)

    def __str__(self) -> str:
        return str(self.params["id"])

    def __repr__(self) -> str:
        return f"Chart({self.__dict__.get('params', {}).get('id')})"

    def add_variable(self, variable: list[Any]) -> None:
        """Adds `[id, value]`. Raises `ItemTypeError` and `ItemValueError`."""
        self.variables.add(ChartVariable(variable))

    def add_dimension(self, dimension: list[Any]) -> Dimension:
        """Adds `[id, name, algorithm, multiplier, divisor, hidden]`.

        Raises `ItemTypeError`, `ItemValueError` and `DuplicateItemError`.
        """
        added = Dimension(dimension)
        if added.id in self:
            raise DuplicateItemError(f"'{added.id}' already in '{self.name}' dimensions")
        self.refresh()
        self.dimensions.append(added)
        return added

    def hide_dimension(self, dimension_id: Any, reverse: bool = False) -> None:
        """Hides a dimension on dashboards, or shows it again."""
        for dimension in self.dimensions:
            if dimension.id == dimension_id:
                dimension.params["hidden"] = "" if reverse else "hidden"
                self.refresh()

    def del_dimension(self, dimension_id: Any, hide: bool = True) -> None:
        """Forgets a dimension; it may be added again."""
        for dimension in list(self.dimensions):
            if dimension.id == dimension_id:
                dimension.params["obsolete"] = "obsolete"
                if hide:
                    dimension.params["hidden"] = "hidden"
                self.create()
                self.dimensions.remove(dimension)

    def create(self) -> None:
        """Tells its definition."""
        if self._link.print_line:
            self._link.print_line(
                protocol.chart(self.params, [one.params for one in self.dimensions], sorted_variables(self))
            )
        self.flags.push = False
        self.flags.created = True

    def can_be_updated(self, data: Any) -> bool:
        """Says whether the data has a value for any of its dimensions."""
        return any(_value_of(dimension, data) is not None for dimension in self.dimensions)

    def update(self, data: Any, interval: int) -> bool:
        """Takes the values of its dimensions, and says whether there was one; `interval` in microseconds."""
        found = []
        for dimension in self.dimensions:
            try:
                value = dimension.get_value(data, self._link.fractions)
            except values.NotANumber as error:
                self._link.warn(codes.NO_NUMBER, f"dimension `{dimension.id}` of chart `{self.name}`: {error}")
                continue
            if value is not None:
                found.append((dimension, value))
        if not found:
            self.flags.updated = False
            self.penalty += 1
            return False
        if self.flags.push:
            self.create()
        if self._charts is not None:
            self._charts._updates.append(Update(self, found))
        if self._link.print_line:
            since = interval if self.flags.updated else 0
            variables = [(one.id, one.get_value(data)) for one in sorted_variables(self)]
            known = [(id, value) for id, value in variables if value is not None]
            self._link.print_line(protocol.update(self.name, since, [(one.id, value) for one, value in found], known))
        self.flags.updated = True
        self.penalty = 0
        return True

    def obsolete(self) -> None:
        """Ends it, until the data has a value for it again."""
        self.flags.obsoleted = True
        if self.flags.created and self._link.print_line:
            self._link.print_line(protocol.obsolete(self.params))

    def refresh(self) -> None:
        """Has its definition told again, and takes back that it is obsolete."""
        self.penalty = 0
        self.flags.push = True
        self.flags.obsoleted = False


def sorted_variables(chart: Chart) -> list[ChartVariable]:
    """Returns the variables of a chart in an order that is the same each time."""
    return sorted(chart.variables, key=lambda one: str(one.id))


def _value_of(dimension: Dimension, data: Any) -> Any:
    try:
        return dimension.get_value(data)
    except values.NotANumber:
        return None


class Dimension:
    """One line of a chart; equal to its id."""

    def __init__(self, params: list[Any]) -> None:
        """`params` as in `DIMENSION_PARAMS`. Raises `ItemTypeError` and `ItemValueError`."""
        if not isinstance(params, list):
            raise ItemTypeError("'dimension' must be a list type")
        if not params:
            raise ItemValueError(f"invalid value for 'dimension', must be {DIMENSION_PARAMS}")
        padded = [value or "" for value in params] + [""] * len(DIMENSION_PARAMS)
        self.params: dict[str, Any] = dict(zip(DIMENSION_PARAMS, padded))
        self.params["name"] = self.params["name"] or self.params["id"]
        if self.params["algorithm"] not in DIMENSION_ALGORITHMS:
            self.params["algorithm"] = "absolute"
        for key in ("multiplier", "divisor"):
            if not isinstance(self.params[key], int):
                self.params[key] = 1
        self.params["obsolete"] = ""

    def __getattr__(self, item: str) -> Any:
        try:
            return self.__dict__["params"][item]
        except KeyError:
            raise AttributeError(f"'{self!r}' has no attribute '{item}'") from None

    def __str__(self) -> str:
        return str(self.params["id"])

    def __repr__(self) -> str:
        return f"Dimension({self.__dict__.get('params', {}).get('id')})"

    def __eq__(self, other: object) -> bool:
        mine: Any = self.params["id"]
        return bool(mine == (other.params["id"] if isinstance(other, Dimension) else other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(repr(self))

    def get_value(self, data: Any, fractions: bool = False) -> int | float | None:
        """Returns its value in the data, None where there is none. Raises `values.NotANumber`."""
        try:
            value = data[self.params["id"]]
        except (KeyError, TypeError):
            return None
        return values.number(value, fractions)


class ChartVariable:
    """A number beside a chart, for netdata's alarms; equal to its id."""

    def __init__(self, params: list[Any]) -> None:
        """Raises `ItemTypeError` and `ItemValueError`."""
        if not isinstance(params, list):
            raise ItemTypeError("'variable' must be a list type")
        if not params:
            raise ItemValueError(f"invalid value for 'variable' must be: {VARIABLE_PARAMS}")
        self.params: dict[str, Any] = dict(zip(VARIABLE_PARAMS, [*params, None]))

    def __getattr__(self, item: str) -> Any:
        try:
            return self.__dict__["params"][item]
        except KeyError:
            raise AttributeError(f"'{self!r}' has no attribute '{item}'") from None

    def __str__(self) -> str:
        return str(self.params["id"])

    def __repr__(self) -> str:
        return f"ChartVariable({self.__dict__.get('params', {}).get('id')})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChartVariable) and bool(self.params["id"] == other.params["id"])

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(repr(self))

    def get_value(self, data: Any) -> Any:
        """Returns its value in the data, its own where that has none."""
        try:
            return int(data[self.params["id"]])
        except (KeyError, TypeError, ValueError, OverflowError):
            return self.params["value"]
