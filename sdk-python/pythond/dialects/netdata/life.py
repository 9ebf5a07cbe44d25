"""The life of a unit's job: the ways to one source are checked in their order, the first that finds something runs.

A `Service` is made once for each way and kept for the next checks; `__init__`, `check`, `create` and each run happen in
the job's own thread. While nothing runs `every` is the pause until the next check.
"""

from __future__ import annotations

import time

from pythond import codes, dialects
from pythond.dialects.netdata import link as links
from pythond.dialects.netdata import loop, points, protocol, secrets_of, words
from pythond.dialects.netdata.link import Link
from pythond.dialects.netdata.own_loop import OwnLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable

    from pythond.dialects import Host
    from pythond.dialects.netdata.job_confs import JobConf
    from pythond.dialects.netdata.settings import Settings

_NO_DIMENSION = codes.NO_DIMENSION
_NOT_ADDED = codes.NOT_ADDED
_STOCK_PATIENCE = 10


class Failed(Exception):
    """A run that gave nothing; its text says why."""


class Way:
    """One job of the configuration, with its `Service` once that is made."""

    def __init__(self, conf: JobConf, link: Link, load: Callable[[], ModuleType]) -> None:
        """`load` returns a module of its own."""
        self.conf = conf
        self.link = link
        self._load = load
        self.service: Any = None

    def ready(self, least_every: float, read: Callable[[str], bytes]) -> Any:
        """Returns the `Service`, made if there is none; raises what its module raises."""
        if self.service is None:
            module = self._load()
            configuration = self.conf.configuration(vars(module), least_every, read)
            with links.making(self.link):
                self.service = module.Service(configuration=configuration)
        return self.service


class ModuleJob(dialects.Job):
    """One unit's schedule."""

    def __init__(self, host: Host, key: str, ways: list[Way], settings: Settings, sweep: Callable[[], None]) -> None:
        """`sweep` is called between runs."""
        self.key = key
        self.title = ""
        self.line = 0
        self.needs_two = True
        # Of which there are none where netdata's protocol is printed.
        self.makes_points = not settings.protocol
        self._host = host
        self._ways = ways
        self._settings = settings
        self._sweep = sweep
        self._way: Way | None = None
        self._own_loop: OwnLoop | None = None
        # What was warned of: dimensions that cannot have their name, keys without a dimension.
        self._noted: set[Any] = set()
        # When all was well with the keys: they, and how many dimensions there were.
        self._known_well: Any = None
        self._shapes: points.Shapes | None = None

    @property
    def every(self) -> float:  # type: ignore[override]
        """Returns the seconds to the next run, or to the next check where that failed."""
        if self._way is None:
            return self._recheck(self._ways[-1])
        counters = self._way.service._runtime_counters
        return float(loop.seconds(counters.update_every) + counters.penalty)

    def _recheck(self, way: Way) -> float:
        own = way.conf.five.get("autodetection_retry") or 0
        if own > 0:
            return float(own)
        return self._settings.recheck * (_STOCK_PATIENCE if way.conf.is_stock else 1)

    # --- until it runs ---

    def check(self) -> None:
        """Tries the ways in their order.

        Raises `NotYet` where none finds anything, and what a module raised where that is why.
        """
        reasons = []
        failure: BaseException | None = None
        for way in self._ways:
            try:
                why = self._try(way)
            except BaseException as error:
                failure = failure or error
                self._tell(way, error)
                continue
            if not why:
                self._begin(way)
                return
            reasons.append((way.conf.key, why))
        if failure is not None:
            raise failure
        again = self._recheck(self._ways[-1])
        text = f"its check found nothing to collect ({words.of_ways(reasons)})"
        is_once = getattr(self._host, "mode", "worker") == "once"
        raise dialects.NotYet(text if is_once else f"{text}; next check in {again:g} s", again)

    def _try(self, way: Way) -> str:
        """Checks a way and makes its charts; returns why there is nothing, empty where there is something."""
        try:
            service = way.ready(self._settings.update_every, self._host.reads)
        except secrets_of.Missing as error:
            return str(error)
        way.link.data = links.NOTHING
        service._pythond_last_error = ""
        with links.making(way.link):
            result = service.check()
            if not result:
                return words.of_check(result, way.link.data, service._pythond_last_error)
            service.create()
        return ""

    def _begin(self, way: Way) -> None:
        self._way = way
        self.line = way.conf.line
        if len(self._ways) > 1:
            self.title = f"by {way.conf.key}"
        if self._settings.protocol and way.link.print_line:
            service = way.service
            line = protocol.runtime_chart(service.name, way.link.module, service.actual_job_name, service.update_every)
            way.link.print_line(line)
        from bases.FrameworkServices.SimpleService import SimpleService

        if getattr(type(way.service), "run", None) is not SimpleService.run:
            self._own_loop = OwnLoop(way.service, way.link)

    def _tell(self, way: Way, error: BaseException) -> None:
        """Says that a way is not to be had; also where a later one is, and nobody else would say it."""
        if way.service is not None:
            way.service.warning(f"unhandled exception : {error!r}")
        elif len(self._ways) > 1:
            self._warn(way, codes.LOAD_FAILED, f"job `{way.conf.key}` cannot be made: {error!r}")

    # --- each run ---

    def run(self) -> None:
        """Updates once and sends what the charts got. Raises `Failed`, and what the module raises."""
        assert self._way is not None, "the worker checks before it runs"
        way = self._way
        service = way.service
        try:
            if self._own_loop is not None:
                self._own_loop.follow(self.every)
                is_updated = True
            else:
                with links.making(way.link):
                    is_updated = loop.run_once(service)
        finally:
            # Also what came before an exception.
            self._send(way)
        self._sweep()
        if not is_updated:
            raise Failed(self._why_nothing(way))
        if way.link.print_line:
            counters = service._runtime_counters
            way.link.print_line(protocol.runtime_update(service.name, 0, int(counters.elapsed)))
        self._look_for_unknown_keys(way)

    def _send(self, way: Way) -> None:
        updates = way.service.charts.take()
        if self._settings.protocol or not updates:
            return
        if self._shapes is None:
            self._shapes = points.Shapes(way.link.module, way.conf.labels, self._settings.values)
        rows = []
        for update in updates:
            # All charts of a run have one time.
            row, is_new = self._shapes.sample(update, updates[0].time_ns)
            rows.append(row)
            if is_new:
                self._look_for_twins(way, update.chart)
        self._host.hand_in(self, rows)

    def _look_for_twins(self, way: Way, chart: Any) -> None:
        shape = (chart.name, tuple(one.id for one in chart.dimensions))
        if shape in self._noted:
            return
        self._noted.add(shape)
        for name, field in points.twins([one.params for one in chart.dimensions]):
            text = f"chart `{chart.name}` has two dimensions of the name `{name}`; the later one's field is `{field}`"
            self._warn(way, _NOT_ADDED, text)

    def _why_nothing(self, way: Way) -> str:
        data = way.link.data
        charts = way.service.charts
        is_unknown = isinstance(data, dict) and bool(data) and not _known_keys(data, charts)
        text = words.of_data(data, _dimensions(charts), is_unknown)
        if is_unknown:
            self._warn(way, _NO_DIMENSION, text)
        counters = way.service._runtime_counters
        if counters.penalty:
            failures = f"after {counters.retries} failures"
            return f"{text}; next run in {loop.seconds(counters.update_every) + counters.penalty:g} s, {failures}"
        return text

    def _look_for_unknown_keys(self, way: Way) -> None:
        """Warns once of keys that no chart has, in a module of the user's own."""
        if way.conf.is_stock or _NO_DIMENSION in self._noted:
            return
        data = way.link.data
        if not isinstance(data, dict):
            return
        seen = tuple(data), [len(chart.dimensions) + len(chart.variables) for chart in way.service.charts]
        if seen == self._known_well:
            return
        known = _known_keys(data, way.service.charts)
        unknown = [key for key in data if key not in known]
        if not unknown:
            self._known_well = seen
        if unknown:
            self._noted.add(_NO_DIMENSION)
            self._warn(way, _NO_DIMENSION, words.unknown_keys(unknown, _dimensions(way.service.charts)))

    def _warn(self, way: Way, code: str, text: str) -> None:
        self._host.warn(code, text, way.conf.conf, way.conf.line, way.conf.column)


def _dimensions(charts: Any) -> list[Any]:
    return list(dict.fromkeys(dimension.id for chart in charts for dimension in chart.dimensions))


def _known_keys(data: Any, charts: Any) -> set[Any]:
    """Returns the keys of the data that a chart takes."""
    known: set[Any] = set()
    for chart in charts:
        known.update(dimension.id for dimension in chart.dimensions if dimension.id in data)
        known.update(variable.id for variable in chart.variables if variable.id in data)
    return known


class Sweeper:
    """Collects garbage now and then, between runs, once for all jobs of a process."""

    def __init__(self, every: float) -> None:
        """`every` in seconds, 0 for never."""
        self._every = every
        self._last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if self._every and now - self._last >= self._every:
            import gc

            self._last = now
            gc.collect()
