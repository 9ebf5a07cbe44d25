"""The base of every `Service`: configuration, names, charts, and one update."""

from __future__ import annotations

import time
from typing import Any

from bases.charts import ChartError, Charts
from bases.loggers import PythonDLimitedLogger
from pythond import codes
from pythond.dialects.netdata import link as links
from pythond.dialects.netdata import loop

__all__ = ("RuntimeCounters", "SimpleService")

_PREFIX = "pythond_"


class RuntimeCounters:
    """How the runs of a job go."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        """Takes `update_every` and `penalty` out of the configuration."""
        every = configuration.pop("update_every")
        # Whole seconds, as netdata counts them; a module may set others later.
        self.update_every = int(every) if every >= 1 else every
        self.do_penalty = configuration.pop("penalty")
        self.start_mono: float = 0
        self.start_real: float = 0
        # Failures in a row, and the seconds that they add to each pause.
        self.retries = 0
        self.penalty = 0
        self.elapsed: float = 0
        # Wall clock of the last success, 0 before the first.
        self.prev_update: float = 0
        self.runs = 1

    def calc_next(self) -> None:
        """Notes that a run begins."""
        self.start_mono = time.monotonic()
        self.start_real = time.time()

    def handle_retries(self) -> None:
        """Counts a failure; with every fifth in a row the pause grows."""
        self.retries += 1
        self.penalty = loop.penalty(self.retries, self.update_every, self.penalty) if self.do_penalty else 0


class SimpleService(PythonDLimitedLogger):
    """What modules inherit where no other framework class fits."""

    def __init__(self, configuration: dict[str, Any], name: str = "") -> None:
        """Takes its own keys out of the configuration and keeps the rest; `name` is ignored."""
        self._pythond_link = links.current()
        self.configuration = configuration
        self.order: Any = []
        self.definitions: Any = {}
        self.module_name = self._pythond_link.module or clean_module_name(type(self).__module__)
        self.job_name = configuration.pop("job_name")
        self.actual_job_name = self.job_name or self.module_name
        self.override_name = configuration.pop("override_name")
        self.fake_name: Any = None
        self._runtime_counters = RuntimeCounters(configuration)
        self.charts = Charts(
            job_name=self.actual_name,
            actual_job_name=self.actual_job_name,
            priority=configuration.pop("priority"),
            cleanup=configuration.pop("chart_cleanup"),
            get_update_every=self.get_update_every,
            module_name=self.module_name,
        )

    def __repr__(self) -> str:
        return f"<{', '.join(base.__name__ for base in type(self).__bases__)}: {self.name}>"

    @property
    def name(self) -> str:
        name = self.override_name or self.job_name
        return f"{self.module_name}_{name}" if name and name != self.module_name else str(self.module_name)

    def actual_name(self) -> Any:
        """Returns what the ids of charts begin with."""
        return self.fake_name or self.name

    @property
    def runs_counter(self) -> int:
        return self._runtime_counters.runs

    @property
    def update_every(self) -> Any:
        return self._runtime_counters.update_every

    @update_every.setter
    def update_every(self, value: Any) -> None:
        self._runtime_counters.update_every = value

    def get_update_every(self) -> Any:
        return self.update_every

    def check(self) -> Any:
        """Says whether there is something to collect: data that is a dictionary and not empty."""
        data = self.get_data()
        self._pythond_link.data = data
        return bool(data) and isinstance(data, dict)

    def create(self) -> bool:
        """Makes the charts that the module has defined; what is wrong is left out and logged."""
        order, definitions = getattr(self, "order", None) or (), getattr(self, "definitions", None) or {}
        for chart_id in order:
            if chart_id in definitions:
                self.__create_chart(chart_id, definitions[chart_id])
        self.__dict__.pop("order", None)
        self.__dict__.pop("definitions", None)
        return bool(self.charts)

    def __create_chart(self, chart_id: Any, definition: Any) -> None:
        # What is no list raises here, as netdata's `create` does.
        params = [chart_id] + definition["options"]
        try:
            self.charts.add_chart(params)
        except ChartError as error:
            self.__not_added("chart", f"'{chart_id}'", params, error)
            return
        for kind, written in (("dimension", definition["lines"]), ("variable", definition.get("variables", ()))):
            for one in written:
                # Not found for None and 0, which are no id of a chart: that is the module's fault, as in netdata.
                chart = self.charts[chart_id]
                try:
                    (chart.add_dimension if kind == "dimension" else chart.add_variable)(one)
                except ChartError as error:
                    self.__not_added(kind, f"'{one}'", one, error)

    def __not_added(self, kind: str, shown: str, written: Any, error: ChartError) -> None:
        self.error(f"create() => [NOT ADDED] ({kind} {shown}: {error})")
        self._pythond_link.warn(codes.NOT_ADDED, f"{kind} {written!r} was not added: {error}")

    def run(self) -> None:
        """Updates for ever; for modules that have a `run` of their own: the job calls what this consists of."""
        loop.run_for_ever(self)

    def update(self, interval: int) -> bool:
        """Gets data and gives each chart its values; says whether there was one. `interval` in microseconds."""
        self._pythond_link.data = links.NOTHING
        data = self.get_data()
        self._pythond_link.data = data
        if not data or not isinstance(data, dict):
            return False
        is_updated = False
        for chart in list(self.charts):
            if chart.flags.obsoleted:
                if not chart.can_be_updated(data):
                    continue
                chart.refresh()
            elif self.charts.cleanup and chart.penalty >= self.charts.cleanup:
                chart.obsolete()
                self.info(f"chart '{chart.name}' was suppressed due to non updating")
                continue
            if chart.update(data, interval):
                is_updated = True
        return is_updated

    def get_data(self) -> Any:
        """Returns the data: a dictionary of values by the ids of dimensions; None without."""
        return self._get_data()

    def _get_data(self) -> Any:
        """Returns the data; for the module to define."""
        raise NotImplementedError


def clean_module_name(name: str) -> str:
    """Returns the name of a module's file, without `.chart.py`."""
    return name[len(_PREFIX) :] if name.startswith(_PREFIX) else name
