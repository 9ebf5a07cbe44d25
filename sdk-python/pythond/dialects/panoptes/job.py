"""A plugin as the job of its unit.

The runs happen in threads of their own (`runs`), each at its time; the job is how they are told: the agent calls it
when something is due, it waits until that is over, and says how it went. With many resources it is called every few
seconds, not for each run. It fails as long as the last run of any resource failed, with the traceback of the latest, or
hung.
"""

from __future__ import annotations

import gc
import math
import os
import sys
import time
import traceback

from pythond import codes, logs
from pythond.dialects import Job, NotYet, Table
from pythond.dialects.panoptes import overview
from pythond.dialects.panoptes.due import Schedule
from pythond.dialects.panoptes.execution import Execution, Outcome, RunFailed, counted
from pythond.dialects.panoptes.runs import Run, Runs
from pythond.dialects.panoptes.slots import Slots
from pythond.dialects.panoptes.store import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Callable, Mapping

    from pythond.dialects import Host
    from pythond.dialects.panoptes.modules import Module
    from pythond.dialects.panoptes.plugin import Plugin
    from pythond.dialects.panoptes.shared import Shared
    from yahoo_panoptes.framework.resources import PanoptesResource

DEFAULT_CONCURRENCY = 16
DEFAULT_GRACE = 5.0
# How often the table of resources is looked at, and how often it is noted how far the unit came.
LOOK = 1.0
_NOTE = 5.0
_CLEAN = 60.0
# Moments of the wall clock are known no better than this: what was due so shortly before one rather runs twice.
_UNSURE = 0.0005
# The job reports at most so often: a tenth of its interval, within these bounds.
_REPORTS = (1.0, 10.0)
_EXIT_CODE = 1
_NO_RESOURCE = ""


class PluginJob(Job):
    """See the top of this file."""

    def __init__(
        self, plugin: Plugin, module: Module, host: Host, shared: Shared, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.key = plugin.key
        self.title = plugin.name
        self.every = plugin.every
        # What says against what it is run, where it is run against something.
        self.line = plugin.line_of("main", "execute_frequency" if plugin.type == "discovery" else "resource_filter")
        self._plugin = plugin
        self._module = module
        self._host = host
        self._shared = shared
        self._clock = clock
        self._is_once = getattr(host, "mode", "worker") == "once"
        # In service an empty set is no fault: the execution warns of three in a row. By hand it is what was looked for.
        self.makes_points = plugin.type == "polling" and self._is_once
        self._slots = Slots(shared.store, host.id)
        self._targets: dict[str, PanoptesResource | None] = {}
        self._classes: dict[str, int] = {}
        self._all_resources = 0
        self._seen: tuple[int, int, int] | None = None
        self._version = -1.0
        self._expires_at = -math.inf
        self._noted_at = self._cleaned_at = -math.inf
        self._schedule = Schedule(plugin.every)
        self._execution = Execution(plugin, module, host, shared, self, prints=self._is_once)
        self._hung: dict[str, tuple[int, float]] = {}
        # Of the latest run that took too long.
        self._hung_why = ""
        self._failed: dict[str, str] = {}
        # Since this process began, and not failed since.
        self._went_well: set[str] = set()
        # The plugins that the resources name which this one has found, as far as it is noted.
        self._named: frozenset[str] = frozenset()
        self._latest: tuple[str, BaseException] | None = None
        self._last = ""
        # When the agent will call `run` again, if nobody asks for it before.
        self._expected = -math.inf
        self._runs = Runs(
            self._schedule,
            self._work,
            self._look,
            self._replace,
            concurrency=int(host.settings.get("concurrency") or DEFAULT_CONCURRENCY),
            limit=plugin.limit,
            grace=float(host.settings.get("stop_grace") or DEFAULT_GRACE),
            show=self._show,
            clock=clock,
        )

    # --- the agent's side ---

    def check(self) -> None:
        """Raises `NotYet` while no resource matches."""
        self._see_resources(self._clock())
        if not self._targets:
            raise NotYet(self._why_none(), LOOK)

    def run(self) -> float | None:
        """Returns the pause until something is due. Raises what the latest failed run raised."""
        is_asked = self._is_once or self._clock() < self._expected - 0.5
        self._runs.start()
        if is_asked:
            self._runs.all_now()
        pace = min(max(self.every / 10, _REPORTS[0]), _REPORTS[1])
        self._runs.wait_for(math.inf if self._is_once else pace)
        report = self._runs.take_report()
        self.title = self._told(report.late)
        self._expected = -math.inf
        self._raise_failure()
        if not self._targets and not self._is_once:
            self._wait_again()
            return None
        now = self._clock()
        pause = max(self._runs.next_due() - now, pace if self._runs.running() or len(self._targets) > 1 else 0.0)
        pause = min(pause, self.every)
        self._expected = now + pause
        return pause

    def resources(self) -> Table:
        """Returns the resources that match with their runs, or those that a discovery plugin has found."""
        try:
            return self._found() if self._plugin.type == "discovery" else self._matching()
        finally:
            # Of the thread that asks, which comes for this once.
            self._shared.store.close()

    def stop(self) -> None:
        self._runs.stop()
        try:
            self._note_end()
        except StoreError as error:
            self._host.warn(codes.DISK_FULL, f"the state of this input cannot be used: {error}")
        self._shared.store.close()

    def _wait_again(self) -> None:
        """Puts a new job in the place of this one: all resources are gone, and only a job's first check can wait."""
        self._host.drop(self)
        self._host.add(PluginJob(self._plugin, self._module, self._host, self._shared, self._clock))

    def _raise_failure(self) -> None:
        if not self._failed:
            if self._hung:
                raise RunFailed(self._told_hung())
            return
        if self._latest is None or self._latest[0] not in self._failed:
            key = next(reversed(self._failed))
            raise RunFailed(self._failed[key])
        error = self._latest[1]
        raise error.with_traceback(error.__traceback__)

    def _told(self, late_runs: int) -> str:
        """Says how it stands, for the status."""
        parts = [self._plugin.name]
        if self._plugin.type != "discovery":
            parts.append(counted(len(self._targets), "resource"))
        running = self._runs.running()
        if running:
            parts.append(f"{running} running")
        late, by = self._runs.waiting()
        hung = len(self._hung)
        if late or late_runs or hung:
            parts.append(f"{late + late_runs + hung} late" + (f", by up to {by:.0f} s" if by else ""))
        if hung:
            parts.append(f"{hung} left alone after they hung ({', '.join(list(self._names(self._hung))[:3])})")
        if self._failed:
            parts.append(f"{len(self._failed)} failed ({', '.join(list(self._names(self._failed))[:3])})")
        if self._execution.left_out:
            parts.append(f"{counted(self._execution.left_out, 'metric')} left out")
        if self._last:
            parts.append(f"last result: {self._last}")
        if self._plugin.filter is not None:
            parts.append(self._plugin.filter.query)
        return "; ".join(parts)

    def _told_hung(self) -> str:
        now = self._shared.store.clock()
        again = overview.span(min(until for _, until in self._hung.values()) - now)
        names = ", ".join(self._names(self._hung))
        what = f"{names or 'it'} hung" if len(self._hung) == 1 else f"{len(self._hung)} resources hung ({names})"
        return f"{what}, and the process was replaced; next try in {again}"

    def _names(self, keys: Mapping[str, object]) -> list[str]:
        found = [self._targets.get(key) for key in list(keys)[-3:]]
        return [one.resource_id for one in found if one is not None]

    def _why_none(self) -> str:
        query = self._plugin.filter.query if self._plugin.filter is not None else ""
        wanted = self._host.settings.get("resource")
        if wanted and self._all_resources:
            return f"no resource with the id `{wanted}` matches `{query}`"
        if not self._all_resources:
            return f"no resource matches `{query}`: there are none{self._whence()}"
        classes = ", ".join(f"{count} {name}" for name, count in sorted(self._classes.items()))
        found = "is 1" if self._all_resources == 1 else f"are {self._all_resources}"
        return f"no resource matches `{query}`; there {found}, by class: {classes}"

    def _whence(self) -> str:
        """Says what would give resources, where nothing does."""
        settings = self._host.settings
        if settings.get("resources") or settings.get("discovery"):
            return ""
        if self._is_once:
            return "; `--resources FILE` gives them"
        return "; the input has neither `discovery` nor `resources`, which would give them"

    # --- the table ---

    def _matching(self) -> Table:
        with self._runs.changed:
            targets = dict(self._targets)
            now = self._clock()
            turns = {
                key: overview.Turn(one.is_running, one.due - now, self._told_last(key))
                for key, one in self._schedule.known().items()
            }
        if not targets:
            return Table(overview.COLUMNS, (), "no check has been made yet" if self._seen is None else self._why_none())
        resources = [one for one in targets.values() if one is not None]
        return Table(
            overview.COLUMNS, overview.rows(resources, self._expiries(), turns, self._shared.store.clock()), ""
        )

    def _told_last(self, key: str) -> str:
        if key in self._failed:
            resource = self._targets.get(key)
            name = f"{resource.resource_id}: " if resource is not None else ""
            text = self._failed[key]
            return f"failed: {text[len(name) :] if text.startswith(name) else text}"
        if key in self._hung:
            return "left alone after it hung"
        return "ok" if key in self._went_well else ""

    def _found(self) -> Table:
        named = {self._plugin.name, *self._named, *self._slots.named()}
        table = self._shared.table
        resources = [one for one in table.read() if one.resource_plugin in named]
        rows = overview.rows_of_discovery(resources, table.expiries(), self._shared.store.clock())
        return Table(overview.COLUMNS_OF_DISCOVERY, rows, "no resource that it has found is there")

    def _expiries(self) -> dict[str, float]:
        """Returns when each resource goes; those of a JSON file stay as long as that is there."""
        expiries = self._shared.table.expiries()
        expiries.update((one.serialization_key, math.inf) for one in self._shared.given)
        return expiries

    # --- the resources ---

    def _look(self, now: float) -> float:
        """Looks at what others may have changed; called by the watcher of the runs."""
        try:
            self._see_resources(now)
            if now >= self._noted_at + _NOTE:
                self._noted_at = now
                self._slots.keep_ran_until(self._runs.ran_until(now) + self._ahead())
            if now >= self._cleaned_at + _CLEAN:
                self._cleaned_at = now
                self._shared.store.forget_expired()
        except Exception as error:
            # A full disk, for instance. What is known goes on running.
            self._host.warn(codes.DISK_FULL, f"the state of this input cannot be used: {error}")
        return now + LOOK

    def _see_resources(self, now: float) -> None:
        if self._plugin.type == "discovery":
            if not self._targets:
                self._take_targets({_NO_RESOURCE: None})
            return
        table = self._shared.table
        if self._wall(now) >= self._expires_at:
            if self._expires_at > 0:
                table.drop_expired()
            self._seen = None
        seen = self._shared.store.changes()
        if seen == self._seen:
            return
        self._seen = seen
        self._expires_at = table.next_expiry()
        version = table.version()
        if version != self._version or not self._targets:
            self._version = version
            self._match()

    def _match(self) -> None:
        found = self._shared.resources()
        wanted = self._host.settings.get("resource")
        self._all_resources = len(found)
        self._classes = {}
        targets: dict[str, PanoptesResource | None] = {}
        for resource in found:
            self._classes[resource.resource_class] = self._classes.get(resource.resource_class, 0) + 1
            if wanted and resource.resource_id != wanted:
                continue
            if self._plugin.filter is not None and self._plugin.filter.matches(resource):
                targets[resource.serialization_key] = resource
        self._take_targets(targets)
        self._warn_of_twins([one for one in targets.values() if one is not None])

    def _take_targets(self, targets: dict[str, PanoptesResource | None]) -> None:
        """Makes these the resources of the plugin; those that were there keep their times."""
        gone = [key for key in self._targets if key not in targets]
        new = [key for key in targets if key not in self._targets]
        if gone:
            self._slots.forget(gone)
        known = self._slots.known() if new else {}
        ran_until = self._slots.ran_until()
        # Not a moment earlier: matching thousands takes its time, and nobody is late for that.
        now = self._clock()
        is_fresh = ran_until >= self._wall(now) - 2 * self.every
        hung = self._slots.hung() if new else self._hung
        self._hung = {key: one for key, one in hung.items() if key in targets}
        ahead = self._ahead()
        resumed = {key: known[key] - ahead for key in new if key in known and is_fresh}
        with self._runs.changed:
            self._targets = targets
            self._schedule.remove(gone)
            for key in gone:
                self._failed.pop(key, None)
                self._went_well.discard(key)
            self._schedule.resume(resumed, ran_until - ahead, now)
            added = self._schedule.add([key for key in new if key not in resumed], now)
            for key in new:
                if key in self._hung:
                    self._schedule.hold(key, self._hung[key][1] - ahead)
            self._runs.changed.notify_all()
        if added:
            self._slots.keep({key: slot + ahead for key, slot in added.items()})

    def _warn_of_twins(self, targets: list[PanoptesResource]) -> None:
        """Warns where two resources have the same tags: their points would replace each other."""
        if self._host.settings.get("resource_id_tag") or self._plugin.type != "polling":
            return
        seen: dict[tuple[str, ...], str] = {}
        for one in targets:
            tags = (
                one.resource_site,
                one.resource_class,
                one.resource_subclass,
                one.resource_type,
                one.resource_endpoint,
            )
            other = seen.setdefault(tags, one.resource_id)
            if other != one.resource_id:
                text = f"resources `{other}` and `{one.resource_id}` have the same tags: their points are one series"
                self._host.warn(codes.WRONG_TAG, f"{text}; `resource_id_tag = true` tells them apart")
                return

    def _note_end(self) -> None:
        """Notes how far this process came, and the grids once more: the wall clock may have been set meanwhile."""
        ahead = self._ahead()
        with self._runs.changed:
            slots = self._schedule.slots()
        self._slots.keep({key: slot + ahead for key, slot in slots.items()})
        self._slots.keep_ran_until(self._runs.ran_until(self._clock()) + ahead - _UNSURE)

    def _wall(self, moment: float) -> float:
        return moment + self._ahead()

    def _ahead(self) -> float:
        """Returns by how much the wall clock, which is compared across processes, is ahead of ours."""
        found = math.inf, 0.0
        for _ in range(3):
            # Other threads may run between two looks at a clock.
            before = self._clock()
            wall = self._shared.store.clock()
            after = self._clock()
            found = min(found, (after - before, wall - (before + after) / 2))
        return found[1]

    # --- one run, in a thread of the runs ---

    def _work(self, key: str) -> float | None:
        resource = self._targets.get(key)
        if resource is None and key != _NO_RESOURCE:
            return None  # gone since it was due
        try:
            outcome = self._execution.run(resource)
        except BaseException as error:
            self._take_failure(key, error)
            return None
        finally:
            logs.flush()
        return self._take_outcome(key, outcome)

    def _take_outcome(self, key: str, outcome: Outcome) -> float | None:
        with self._runs.changed:
            self._failed.pop(key, None)
            if self._latest is not None and self._latest[0] == key:
                self._latest = None
            self._last = outcome.told
            self._went_well.add(key)
            hung = self._hung.pop(key, None)
        try:
            if hung is not None:
                self._slots.forgive(key)
            if outcome.named - self._named:
                self._slots.keep_named(outcome.named)
                self._named |= outcome.named
        except Exception as error:
            self._host.warn(codes.DISK_FULL, f"the state of this input cannot be used: {error}")
        if outcome.is_empty or self._plugin.results_age <= self.every:
            return None
        # A second less, as the original has it: a run that comes a little early is not left out.
        return self._clock() + self._plugin.results_age - 1.0

    def _take_failure(self, key: str, error: BaseException) -> None:
        resource = self._targets.get(key)
        name = resource.resource_id if resource is not None else ""
        text = f"{type(error).__name__}: {error}"
        if name:
            text = f"{name}: {text}"
            # Shown below the traceback since Python 3.11.
            error.__notes__ = [*getattr(error, "__notes__", ()), f"resource {name}"]  # type: ignore[attr-defined]
        with self._runs.changed:
            self._failed.pop(key, None)
            self._failed[key] = text
            self._went_well.discard(key)
            # Only one: its traceback keeps alive what the run had in its hands.
            self._latest = key, error

    # --- runs that hang ---

    def _show(self, run: Run) -> None:
        """Tells where a run stands that takes too long."""
        name = self._name_of(run)
        frame = _frame_of(run.ident or 0)
        stack = traceback.extract_stack(frame) if frame is not None else []
        folders = tuple(os.path.dirname(path) + os.sep for path in (self._plugin.path, self._module.path))
        own = [one for one in stack if one.filename.startswith(folders)]
        place = own[-1] if own else None
        shown = "".join(traceback.format_list([one for one in stack if not _is_ours(one.filename)]))
        seconds = self._clock() - run.began
        what = (
            f"a run of `{self._plugin.name}`{f' against {name}' if name else ''} has taken {seconds:.0f} s, longer "
            f"than 1.25 times its {self.every:g} s"
        )
        file, line = (place.filename, place.lineno or 0) if place else ("", 0)
        self._hung_why = f"{what}, at {os.path.basename(file)}:{line}" if file else what
        text = f"{what}: no new run begins, and the process is replaced\n{shown}"
        self._host.warn(codes.RUN_TOO_LONG, text, file, line)

    def _replace(self, left: list[Run]) -> None:
        """Ends this process. The agent starts another one, which goes on where this one stops."""
        now = self._clock()
        hung = [run.due.key for run in left if now - run.began >= self.every]
        try:
            self._slots.keep_hung(hung, self.every, self._wall(now))
            self._note_end()
        except Exception as error:
            self._host.warn(codes.DISK_FULL, f"the state of this input cannot be used: {error}")
        logs.flush()
        self._host.replace(self._hung_why)
        leave(_EXIT_CODE)

    def _name_of(self, run: Run) -> str:
        resource = self._targets.get(run.due.key)
        return resource.resource_id if resource is not None else ""


def _frame_of(ident: int) -> FrameType | None:
    """Returns where a thread stands.

    Without the garbage collector: on Python before 3.11.9 and 3.12.2 one that begins inside of that call can stop the
    whole process for ever, just when a run that hangs is to be shown.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(ident)
    finally:
        if was_enabled:
            gc.enable()


def leave(code: int) -> None:
    """Ends the process at once: a thread that hangs cannot be ended in another way."""
    os._exit(code)


def _is_ours(path: str) -> bool:
    return path.startswith(os.path.dirname(os.path.abspath(__file__)) + os.sep) or path.endswith("/threading.py")
