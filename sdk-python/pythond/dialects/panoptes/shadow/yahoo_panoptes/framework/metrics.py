"""What polling plugins return: sets of groups of metrics with their dimensions.

Error texts and text forms are those of the original, to the letter; users and their tests look at them.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict

from .exceptions import PanoptesBaseException
from .resources import NAME_PATTERN, NAME_RULE, PanoptesResource
from .validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator

METRICS_TIMESTAMP_PRECISION = 3
METRICS_GROUP_SCHEMA_VERSION = "0.2"


class PanoptesMetricsException(PanoptesBaseException):
    """Something is wrong with metrics."""


class PanoptesMetricsNullException(PanoptesMetricsException):
    """There are no metrics."""


class PanoptesMetricType:
    """How the values of a metric are to be read."""

    GAUGE = 0
    COUNTER = 1


METRIC_TYPE_NAMES = {PanoptesMetricType.GAUGE: "GAUGE", PanoptesMetricType.COUNTER: "COUNTER"}


class PanoptesMetricValidators:
    """Questions about metrics."""

    @classmethod
    def valid_panoptes_resource(cls, resource: Any) -> bool:
        return isinstance(resource, PanoptesResource)

    @classmethod
    def valid_panoptes_metric_type(cls, metric_type: Any) -> bool:
        return isinstance(metric_type, int) and metric_type in METRIC_TYPE_NAMES

    @classmethod
    def valid_panoptes_metric(cls, metric: Any) -> bool:
        return isinstance(metric, PanoptesMetric)

    @classmethod
    def valid_panoptes_metric_dimension(cls, metric_dimension: Any) -> bool:
        return isinstance(metric_dimension, PanoptesMetricDimension)

    @classmethod
    def valid_panoptes_metrics_group(cls, metrics_group: Any) -> bool:
        return isinstance(metrics_group, PanoptesMetricsGroup)


class PanoptesMetric:
    """One value, with its name, its type and its time."""

    def __init__(
        self, metric_name: str, metric_value: float, metric_type: int, metric_creation_timestamp: float | None = None
    ) -> None:
        """Raises `AssertionError` or `ValueError`."""
        assert PanoptesValidators.valid_nonempty_string(metric_name), "metric_name must be a non-empty str"
        assert PanoptesValidators.valid_number(metric_value), "metric_value must be number"
        assert PanoptesMetricValidators.valid_panoptes_metric_type(metric_type), (
            "metric_type must be an attribute of PanoptesMetricType"
        )
        assert metric_creation_timestamp is None or PanoptesValidators.valid_number(metric_creation_timestamp), (
            "metric_creation_timestamp should be None or a number"
        )
        if not NAME_PATTERN.match(metric_name):
            raise ValueError(f'metric name "{metric_name}" {NAME_RULE}')
        at = time.time() if metric_creation_timestamp is None else metric_creation_timestamp
        self.__name = metric_name
        self.__value = metric_value
        self.__type = metric_type
        self.__at = round(at, METRICS_TIMESTAMP_PRECISION)

    @property
    def metric_name(self) -> str:
        return self.__name

    @property
    def metric_value(self) -> float:
        return self.__value

    @property
    def metric_timestamp(self) -> float:
        return self.__at

    @property
    def metric_type(self) -> int:
        return self.__type

    def _raw(self) -> OrderedDict[str, Any]:
        return OrderedDict(
            [
                ("metric_creation_timestamp", self.__at),
                ("metric_name", self.__name),
                ("metric_value", self.__value),
                ("metric_type", METRIC_TYPE_NAMES[self.__type].lower()),
            ]
        )

    @property
    def json(self) -> str:
        return json.dumps(self._raw(), sort_keys=True)

    def __repr__(self) -> str:
        return f"PanoptesMetric[{self.__name}|{self.__value}|{METRIC_TYPE_NAMES[self.__type]}|{self.__at}]"

    def __str__(self) -> str:
        return f"{self.__name}|{self.__value}|{self.__type}"

    def __hash__(self) -> int:
        return hash(self.__name + str(self.__value))

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, PanoptesMetric) and self.__name < other.__name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PanoptesMetric):
            return False
        return (self.__name, self.__value, self.__type) == (other.__name, other.__value, other.__type)


class PanoptesMetricDimension:
    """A name and a value that tell one group from another."""

    def __init__(self, name: str, value: str) -> None:
        """Raises `AssertionError` or `ValueError`."""
        _assert_dimension_name(name)
        assert PanoptesValidators.valid_nonempty_string(value), (
            f'dimension value for dimension "{name}" must be non-empty str or unicode, is type {type(value)}'
        )
        if not NAME_PATTERN.match(name):
            raise ValueError(f'dimension name "{name}" {NAME_RULE}')
        self.__name = name
        self.__value = value

    @property
    def name(self) -> str:
        return self.__name

    @property
    def value(self) -> str:
        return self.__value

    def _raw(self) -> OrderedDict[str, str]:
        return OrderedDict([("dimension_name", self.__name), ("dimension_value", self.__value)])

    @property
    def json(self) -> str:
        return json.dumps(self._raw(), sort_keys=True)

    def __repr__(self) -> str:
        return f"PanoptesMetricDimension[{self.__name}|{self.__value}]"

    def __str__(self) -> str:
        return f"{self.__name}|{self.__value}"

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, PanoptesMetricDimension) and self.__name < other.__name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PanoptesMetricDimension):
            return False
        return (self.__name, self.__value) == (other.__name, other.__value)


def _assert_dimension_name(name: Any) -> None:
    assert PanoptesValidators.valid_nonempty_string(name), (
        f"dimension name must be non-empty str or unicode, is type {type(name)}"
    )


class PanoptesMetricsGroup:
    """Metrics of one resource, one moment and one set of dimensions."""

    def __init__(
        self,
        resource: PanoptesResource,
        group_type: str,
        interval: int,
        creation_timestamp: float | None = None,
    ) -> None:
        """Raises `AssertionError`."""
        assert isinstance(resource, PanoptesResource), "resource must be an instance of PanoptesResource"
        assert PanoptesValidators.valid_nonempty_string(group_type), "group_type must be a non-empty string"
        assert PanoptesValidators.valid_nonzero_integer(interval), "interval must a integer greater than zero"
        assert creation_timestamp is None or PanoptesValidators.valid_number(creation_timestamp), (
            "creation_timestamp should be None or a number"
        )
        at = time.time() if creation_timestamp is None else creation_timestamp
        self.__resource = resource
        self.__group_type = group_type
        self.__interval = interval
        self.__at = round(at, METRICS_TIMESTAMP_PRECISION)
        self.__metrics: dict[tuple[str, int], PanoptesMetric] = {}
        self.__dimensions: dict[str, PanoptesMetricDimension] = {}

    def copy(self, retain_timestamp: bool = True) -> PanoptesMetricsGroup:
        """Returns a group with the same metrics and dimensions, of now where the time is not to be kept."""
        at = self.__at if retain_timestamp else None
        copied = PanoptesMetricsGroup(self.__resource, self.__group_type, self.__interval, at)
        copied.__metrics.update(self.__metrics)
        copied.__dimensions.update(self.__dimensions)
        return copied

    def add_metric(self, metric: PanoptesMetric) -> None:
        """Adds a metric. Raises `KeyError` where there is one of that name and type."""
        assert isinstance(metric, PanoptesMetric), "metric must be an instance of PanoptesMetric"
        key = metric.metric_name, metric.metric_type
        if key in self.__metrics:
            kind = METRIC_TYPE_NAMES[metric.metric_type]
            raise KeyError(
                f'Metric name "{metric.metric_name}" (type "{kind}") for metrics group type '
                f'"{self.__group_type}" already populated'
            )
        self.__metrics[key] = metric

    def add_dimension(self, dimension: PanoptesMetricDimension) -> None:
        """Adds a dimension. Raises `KeyError` where there is one of that name."""
        assert isinstance(dimension, PanoptesMetricDimension), "dimension must be instance of PanoptesMetricDimension"
        if dimension.name in self.__dimensions:
            raise KeyError(
                f"Dimension name {dimension.name} already populated. "
                "Please use upsert_dimension if you need to update dimensions"
            )
        self.__dimensions[dimension.name] = dimension

    def get_dimension_by_name(self, dimension_name: str) -> PanoptesMetricDimension | None:
        _assert_dimension_name(dimension_name)
        return self.__dimensions.get(dimension_name)

    def contains_dimension_by_name(self, dimension_name: str) -> bool:
        _assert_dimension_name(dimension_name)
        return dimension_name in self.__dimensions

    def delete_dimension_by_name(self, dimension_name: str) -> None:
        """Removes a dimension, if it is there."""
        _assert_dimension_name(dimension_name)
        self.__dimensions.pop(dimension_name, None)

    def upsert_dimension(self, dimension: PanoptesMetricDimension) -> None:
        """Adds a dimension, or replaces the one of that name."""
        assert isinstance(dimension, PanoptesMetricDimension), "dimension must be instance of PanoptesMetricDimension"
        self.__dimensions[dimension.name] = dimension

    @staticmethod
    def flatten_dimensions(dimensions: Iterable[dict[str, str]]) -> dict[str, str]:
        """Returns the values of dimensions as they stand in JSON, by name."""
        return {one["dimension_name"]: one["dimension_value"] for one in dimensions}

    @staticmethod
    def flatten_metrics(metrics: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Returns values and times of metrics as they stand in JSON, by type and name."""
        flat: dict[str, dict[str, Any]] = {"counter": {}, "gauge": {}}
        for one in metrics:
            value = {"value": one["metric_value"], "timestamp": one["metric_creation_timestamp"]}
            flat[one["metric_type"]][one["metric_name"]] = value
        return flat

    @property
    def resource(self) -> PanoptesResource:
        return self.__resource

    @property
    def metrics(self) -> list[PanoptesMetric]:
        return sorted(self.__metrics.values())

    @property
    def dimensions(self) -> list[PanoptesMetricDimension]:
        return sorted(self.__dimensions.values())

    @property
    def group_type(self) -> str:
        return self.__group_type

    @property
    def interval(self) -> int:
        return self.__interval

    @property
    def schema_version(self) -> str:
        return METRICS_GROUP_SCHEMA_VERSION

    @property
    def creation_timestamp(self) -> float:
        return self.__at

    def _raw(self) -> OrderedDict[str, Any]:
        return OrderedDict(
            [
                ("metrics_group_type", self.__group_type),
                ("metrics_group_interval", self.__interval),
                ("metrics_group_creation_timestamp", self.__at),
                ("metrics_group_schema_version", METRICS_GROUP_SCHEMA_VERSION),
                ("resource", self.__resource.raw),
                ("metrics", [one._raw() for one in self.__metrics.values()]),
                ("dimensions", [one._raw() for one in self.__dimensions.values()]),
            ]
        )

    @property
    def json(self) -> str:
        return json.dumps(self._raw())

    def __repr__(self) -> str:
        dimensions = ",".join(map(repr, self.dimensions))
        metrics = ",".join(map(repr, self.metrics))
        return (
            f"PanoptesMetricsGroup[resource:{self.__resource!r},interval:{self.__interval},"
            f"schema_version:{METRICS_GROUP_SCHEMA_VERSION},group_type:{self.__group_type},"
            f"creation_timestamp:{self.__at},dimensions:[{dimensions}],metrics:[{metrics}]]"
        )

    def _identity(self) -> tuple[PanoptesResource, frozenset[PanoptesMetric], frozenset[PanoptesMetricDimension]]:
        # Neither type nor interval nor time, as in the original.
        return self.__resource, frozenset(self.__metrics.values()), frozenset(self.__dimensions.values())

    def __hash__(self) -> int:
        return hash(self._identity())

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, PanoptesMetricsGroup) and self.__resource < other.__resource

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PanoptesMetricsGroup) and self._identity() == other._identity()


class PanoptesMetricsGroupEncoder(json.JSONEncoder):
    """Writes groups, metrics and dimensions as JSON."""

    def default(self, o: Any) -> Any:
        if isinstance(o, (PanoptesMetricsGroup, PanoptesMetric, PanoptesMetricDimension)):
            return o._raw()
        if isinstance(o, PanoptesResource):
            return o.raw
        if isinstance(o, (set, frozenset, PanoptesMetricsGroupSet, PanoptesMetricSet)):
            return list(o)
        return super().default(o)


class PanoptesMetricsGroupSet:
    """What a polling plugin returns.

    Unlike in the original, two groups of different type do not become one where their metrics are equal.
    """

    def __init__(self) -> None:
        self.__groups: dict[tuple[str, PanoptesMetricsGroup], PanoptesMetricsGroup] = {}

    def add(self, metrics_group: PanoptesMetricsGroup) -> None:
        self.__groups.setdefault(_place_of(metrics_group), metrics_group)

    def remove(self, metrics_group: PanoptesMetricsGroup) -> None:
        """Removes a group, which may have changed since it was added. Raises `KeyError` where it is not there."""
        place = _place_of(metrics_group)
        for key, group in self.__groups.items():
            if group is metrics_group or (key[0] == place[0] and group == metrics_group):
                del self.__groups[key]
                return
        raise KeyError(metrics_group)

    @property
    def metrics_groups(self) -> list[PanoptesMetricsGroup]:
        return list(self.__groups.values())

    def __add__(self, other: Any) -> PanoptesMetricsGroupSet:
        if not isinstance(other, PanoptesMetricsGroupSet):
            raise TypeError(f"Unsupported type for addition: {type(other)}")
        both = PanoptesMetricsGroupSet()
        both.__groups.update(self.__groups)
        for place, group in other.__groups.items():
            both.__groups.setdefault(place, group)
        return both

    def __iter__(self) -> Iterator[PanoptesMetricsGroup]:
        return iter(self.metrics_groups)

    def __next__(self) -> PanoptesMetricsGroup:
        return next(iter(self))

    def __len__(self) -> int:
        return len(self.__groups)

    def __repr__(self) -> str:
        return f"PanoptesMetricsGroupSet[{','.join(map(repr, self.metrics_groups))}]"


def _place_of(group: Any) -> tuple[str, PanoptesMetricsGroup]:
    assert isinstance(group, PanoptesMetricsGroup), "metrics_group must be an instance of PanoptesMetricsGroup"
    return group.group_type, group


class PanoptesMetricSet:
    """A set of metrics."""

    def __init__(self) -> None:
        self.__metrics: set[PanoptesMetric] = set()

    def add(self, metric: PanoptesMetric) -> None:
        assert isinstance(metric, PanoptesMetric), "metric must be an instance of PanoptesMetric"
        self.__metrics.add(metric)

    def remove(self, metric: PanoptesMetric) -> None:
        assert isinstance(metric, PanoptesMetric), "metric must be an instance of PanoptesMetric"
        self.__metrics.remove(metric)

    @property
    def metrics(self) -> set[PanoptesMetric]:
        return self.__metrics

    def __iter__(self) -> Iterator[PanoptesMetric]:
        return iter(self.__metrics)

    def __next__(self) -> PanoptesMetric:
        return next(iter(self.__metrics))

    def __repr__(self) -> str:
        return f"PanoptesMetricSet[{','.join(map(repr, sorted(self.__metrics)))}]"

    def __len__(self) -> int:
        return len(self.__metrics)
