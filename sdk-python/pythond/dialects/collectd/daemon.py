"""What stands behind the module `collectd`: callbacks, value lists, notifications and logs of one process.

    dispatch → checks, defaults, cleaned names ─┬→ rows, to the agent (`outbox`)
                                                └→ write callbacks (`writing`: bounded, holds back who dispatches)

Flush, notification and log callbacks are called at once, in the thread that asks for it, as collectd does.
"""

from __future__ import annotations

import sys
import threading
import time

from pythond import codes
from pythond.dialects.collectd import classes, log, mapping, meta, text
from pythond.dialects.collectd.outbox import Outbox
from pythond.dialects.collectd.reading import FlushJob, ReadJob
from pythond.dialects.collectd.registry import REPLACED, STACKED, Callback, Registry, identifier_of
from pythond.dialects.collectd.value_lists import FAR, ValueList, is_interval, nanoseconds, numbers_of
from pythond.dialects.collectd.writing import WriteQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from pythond.dialects import Host, Job
    from pythond.dialects.collectd.data_sets import DataSet
    from pythond.dialects.collectd.options import Settings
    from pythond.dialects.collectd.text import Text

QUEUE = 10_000
# How long the end waits for an agent that does not take what is left.
_LAST_WORDS = 30.0
_FEWEST_SERIES = 1000
# One for all value lists without any: many wait in a queue at times.
_NO_META: dict[Text, Any] = {}


class _Context(threading.local):
    """What the calling thread is doing: for which job, with which interval."""

    job: Job | None = None
    interval: float | None = None
    # The import whose callback is being called.
    owner = ""
    is_logging = False
    has_told_interval = False


class Daemon:
    """The daemon of this process."""

    def __init__(self, host: Host, settings: Settings, name: str) -> None:
        """`name` stands before what is logged, where no import can be told."""
        self.host = host
        self.settings = settings
        self.registry = Registry()
        self.log_traces = False
        # The import that is being run.
        self.owner = ""
        self.read_jobs: dict[Text, ReadJob] = {}
        self.context = _Context()
        self.readers = threading.BoundedSemaphore(max(1, int(settings.numbers["readthreads"])))
        self._name = name
        self._sets = settings.types.sets
        self._series: dict[tuple[Text, ...], mapping.Series] = {}
        self._most_series = _FEWEST_SERIES
        self._outbox = Outbox(host)
        limit = int(settings.numbers["writequeuelimithigh"]) or QUEUE
        self._writers = WriteQueue(self._write_one, limit)
        # There was a read callback at some time.
        self._reads = False
        self._has_writers = False
        self._is_initialized = False
        self._is_child = False
        self._lock = threading.Lock()

    # --- life ---

    def initialize(self) -> None:
        """Calls the init callbacks and lets values go to the write callbacks."""
        self.context.interval = self.settings.interval
        for callback in self.registry.all("init"):
            error = self.guarded("init callback", callback)
            if error is not None:
                self._warn_of(callback, "init", error)
        self.context.interval = None
        self._is_initialized = True
        if self.registry.has("write"):
            self._start_writers()
        self._outbox.send_all()
        self.log(log.INFO, "Initialization complete, entering read-loop.")

    def _start_writers(self) -> None:
        """Starts the threads for write callbacks, once; values that come before wait in the queue."""
        with self._lock:
            is_first, self._has_writers = not self._has_writers, True
        if is_first:
            self._writers.start(self._write_threads())

    def _write_threads(self) -> int:
        return max(1, int(self.settings.numbers["writethreads"]))

    def close(self) -> None:
        """Writes everything out, then flushes and shuts down, in collectd's order."""
        self.log(log.INFO, "Exiting normally.")
        if self._reads:
            threads = int(self.settings.numbers["readthreads"])
            self.log(log.INFO, f"collectd: Stopping {threads} read threads.")
        self._outbox.send_all()
        self.log(log.INFO, f"collectd: Stopping {self._write_threads()} write threads.")
        self._writers.stop()
        self.flush(None, 0, None)
        for callback in self.registry.all("shutdown"):
            self.guarded("shutdown callback", callback)
        remain = self._outbox.close(time.monotonic() + _LAST_WORDS)
        if remain:
            self.log(log.ERROR, f"{remain} values could not be handed to the agent")

    def abandon(self) -> None:
        """Ends all threads; what waits is lost."""
        self._outbox.abandon()

    def forked(self) -> None:
        """Begins anew in a child that a plugin has forked: no thread of the parent is here."""
        self._is_child = True
        self._lock = threading.Lock()
        self._outbox.forked()

    def end_of_run(self, job: Job) -> None:
        """Sends what a read callback has dispatched."""
        self._outbox.send(job)

    # --- callbacks ---

    def register(self, kind: str, call: Callable[..., Any], data: tuple[Any, ...], name: Text | None) -> Text:
        identifier = identifier_of(call, name)
        if self.registry.add(kind, Callback(identifier, call, data, self.owner)):
            told = f"register_callback: a callback named `{text.shown(identifier)}' already exists"
            self.log(log.WARNING, f"python plugin: {told} - overwriting the old entry!")
        if kind == "flush" and self.settings.flush_interval > 0:
            self.host.add(FlushJob(self, identifier, self.settings.flush_interval, self.settings.flush_timeout))
        return identifier

    def register_read(
        self, call: Callable[..., Any], interval: float, data: tuple[Any, ...], name: Text | None
    ) -> Text:
        identifier = identifier_of(call, name)
        with self._lock:
            is_known = identifier in self.read_jobs
            if not is_known:
                every = interval if is_interval(interval) else self.settings.interval
                job = ReadJob(self, Callback(identifier, call, data, self.owner), every)
                self.read_jobs[identifier] = job
                self._reads = True
        if is_known:
            told = f'The read function "{text.shown(identifier)}" is already registered. '
            self.log(log.WARNING, f"python plugin: {told}Check for duplicates in your configuration!")
        else:
            self.host.add(job)
        return identifier

    def unregister(self, kind: str, which: object) -> None:
        identifier = which if isinstance(which, (str, bytes)) else identifier_of(which)
        if kind == "read":
            with self._lock:
                job = self.read_jobs.pop(identifier, None)
            if job is not None:
                job.is_removed = True
                self.host.drop(job)
                self._outbox.forget(job)
                return
            self.log(log.WARNING, f"plugin_unregister_read: No such read function: {text.shown(identifier)}")
        elif self.registry.remove(kind, identifier):
            return
        raise RuntimeError(f"Unable to unregister {kind} callback '{text.shown(identifier)}'.")

    def has_callbacks(self) -> bool:
        return bool(self.read_jobs) or any(self.registry.has(kind) for kind in (*REPLACED, *STACKED))

    def disown(self, owner: str) -> None:
        """Forgets all callbacks that an import has registered: it cannot run."""
        self.registry.remove_owner(owner)
        for identifier, job in list(self.read_jobs.items()):
            if job.callback.owner == owner:
                self.unregister("read", identifier)

    def guarded(self, where: str, callback: Callback, *given: Any) -> BaseException | None:
        """Calls a callback; what it raises is logged and returned."""
        context = self.context
        before, context.owner = context.owner, callback.owner
        try:
            callback.call(*given, *callback.data)
        except BaseException as error:
            self.log_exception(where, error)
            return error
        finally:
            context.owner = before
        return None

    def _warn_of(self, callback: Callback, word: str, error: BaseException) -> None:
        path, line = callback.place()
        name = text.shown(callback.identifier)
        raised = log.one_line(error)
        self.host.warn(codes.LOAD_FAILED, f"{word} callback of `{name}` raised {raised}", path, line)

    def flush(self, plugin: Text | None, timeout: int, identifier: Text | None) -> None:
        for callback in self.registry.all("flush"):
            if plugin is None or callback.identifier == plugin:
                self.guarded("flush callback", callback, timeout, identifier)

    # --- values ---

    def data_set(self, name: Text) -> DataSet:
        """Returns a type. Raises `TypeError`."""
        found = self._sets.get(name)  # type: ignore[arg-type]  # bytes are in no file
        if found is None:
            shown = text.shown(name)
            if shown:
                self._warn_of_type(shown)
            raise TypeError(f"Dataset {shown} not found")
        return found

    def _warn_of_type(self, name: str) -> None:
        types = self.settings.types
        near = types.nearest(name)
        told = f"type `{name}` is in no types.db (read: {', '.join(types.files)})"
        self.host.warn(codes.UNKNOWN_TYPE, told + (f"; `{near}` is" if near else ""))

    def _checked(self, type: Text, values: Any, given_meta: Any) -> tuple[DataSet, list[Any]]:
        """Looks at values as the original does, in its order. Raises what it raises."""
        if not type:
            raise RuntimeError("type not set")
        data_set = self._sets.get(type) or self.data_set(type)  # type: ignore[arg-type]
        if not isinstance(values, (list, tuple)):
            raise TypeError("values must be list or tuple")
        if given_meta is not None and not isinstance(given_meta, dict):
            raise TypeError("meta must be a dict")
        return data_set, numbers_of(text.shown(type), data_set, values)

    def dispatch_values(
        self,
        type: Text,
        values: Any,
        given_meta: Any,
        host: Text,
        plugin: Text,
        plugin_instance: Text,
        type_instance: Text,
        at: float,
        interval: float,
    ) -> None:
        """Takes values in. Raises what the original raises."""
        data_set, numbers = self._checked(type, values, given_meta)
        stored = meta.of_values(given_meta, self) if given_meta else _NO_META
        key = (host, plugin, plugin_instance, type, type_instance)
        series = self._series.get(key) or self._new_series(key)
        context = self.context
        if not is_interval(interval):
            interval = context.interval if context.interval is not None else self._unknown_interval()
        now = time.time_ns()
        time_ns = nanoseconds(at) if at and abs(at) < FAR else now
        at = time_ns / 1e9
        if at <= series.time and not self._is_forgotten(series, now / 1e9):
            self._tell_too_old(key, at, series.time)
        else:
            series.time, series.seen, series.interval = at, now / 1e9, interval
        for row in mapping.rows_of(series, data_set, numbers, time_ns, interval, stored, self.settings.shape):
            self._outbox.add(context.job, row)
        if self.registry.has("write") and not self._is_child:
            if self._is_initialized and not self._has_writers:
                self._start_writers()
            host, plugin, plugin_instance, type, type_instance = self._cleaned(key)
            self._writers.put(
                ValueList(
                    *(type, numbers, plugin_instance, type_instance, plugin, host, at, interval, stored),
                    context_interval=context.interval,
                )
            )

    def _cleaned(self, key: tuple[Text, ...]) -> tuple[Text, Text, Text, Text, Text]:
        """Returns an identity with defaults and without slashes."""
        host, plugin, plugin_instance, type, type_instance = (mapping.cleaned(part) for part in key)
        return (
            *(host or self.settings.texts["hostname"], plugin or "python", plugin_instance, type),
            type_instance,
        )

    def _new_series(self, key: tuple[Text, ...]) -> mapping.Series:
        parts = [text.shown(part) for part in self._cleaned(key)]
        host, plugin, plugin_instance, type, type_instance = parts
        shape = self.settings.shape
        tags = mapping.tags_of(
            host, plugin_instance, type, type_instance, text.names.most, with_dimensions=shape.with_dimensions
        )
        series = mapping.Series(plugin, tags)
        with self._lock:
            if len(self._series) >= self._most_series:
                self._forget_old_series()
            self._series[key] = series
        return series

    def _forget_old_series(self) -> None:
        """Forgets, as collectd does, what was not seen for some intervals."""
        now, timeout = time.time(), self.settings.numbers["timeout"]
        kept = {key: one for key, one in self._series.items() if now - one.seen < timeout * one.interval + 1}
        self._series = kept
        self._most_series = max(_FEWEST_SERIES, 2 * len(kept))

    def _is_forgotten(self, series: mapping.Series, now: float) -> bool:
        """Says whether collectd has dropped a series from its cache: it looks once in each interval."""
        return now - series.seen > (self.settings.numbers["timeout"] + 0.5) * series.interval

    def _tell_too_old(self, key: tuple[Text, ...], at: float, last: float) -> None:
        host, plugin, plugin_instance, type, type_instance = (text.shown(one) for one in self._cleaned(key))
        name = mapping.name_of(host, plugin, plugin_instance, type, type_instance)
        told = f"value time = {at:.3f}; last cache update = {last:.3f};"
        self.log(log.NOTICE, f"uc_update: Value too old: name = {name}; {told}")

    def _unknown_interval(self) -> float:
        """Returns the interval of a thread of the plugin's own; told once for each, which the original does always."""
        if self.context.has_told_interval:
            return self.settings.numbers["interval"]
        self.context.has_told_interval = True
        told = "UNKNOWN plugin: plugin_get_interval: Unable to determine Interval from context."
        self.log(log.ERROR, told)
        return self.settings.numbers["interval"]

    def write_values(
        self,
        destination: str | None,
        type: Text,
        values: Any,
        given_meta: Any,
        host: Text,
        plugin: Text,
        plugin_instance: Text,
        type_instance: Text,
        at: float,
        interval: float,
    ) -> None:
        """Hands values to a write callback at once; without a destination to all of them, and to the agent."""
        data_set, numbers = self._checked(type, values, None)
        callbacks = self.registry.all("write")
        if destination is not None:
            wanted = destination.lower()
            callbacks = [one for one in callbacks if text.shown(one.identifier).lower() == wanted]
        if destination is not None and not callbacks:
            self.log(log.DEBUG, f"plugin_write: there is no write callback named `{destination}'")
            raise RuntimeError("error dispatching values, read the logs")
        stored = {}
        if isinstance(given_meta, dict):
            stored = meta.of_values(given_meta, self)
        elif given_meta is not None:
            self.log_exception("building meta data", TypeError("meta must be a dict"))
        one = ValueList(
            *(type, numbers, plugin_instance, type_instance, plugin or "python"),
            *(host or self.settings.texts["hostname"], at, interval, stored),
            context_interval=self.context.interval,
        )
        for callback in callbacks:
            self._call_writer(callback, one)
        if destination is None:
            key = (host, plugin, plugin_instance, type, type_instance)
            series = self._series.get(key) or self._new_series(key)
            time_ns = nanoseconds(at) if at and abs(at) < FAR else None
            for row in mapping.rows_of(series, data_set, numbers, time_ns, interval, stored, self.settings.shape):
                self._outbox.add(self.context.job, row)

    def _write_one(self, one: ValueList) -> None:
        """Gives a value list to all write callbacks."""
        before, self.context.interval = self.context.interval, one.context_interval
        for callback in self.registry.all("write"):
            self._call_writer(callback, one)
        self.context.interval = before

    def _call_writer(self, callback: Callback, one: ValueList) -> None:
        self.guarded("write callback", callback, classes.values_of(one))

    # --- notifications and logs ---

    def dispatch_notification(
        self,
        type: Text,
        message: Text,
        given_meta: Any,
        host: Text,
        plugin: Text,
        plugin_instance: Text,
        type_instance: Text,
        at: float,
        severity: int,
    ) -> None:
        """Takes a notification in. Raises what the original raises."""
        if not type:
            raise RuntimeError("type not set")
        self.data_set(type)
        if given_meta is not None and not isinstance(given_meta, dict):
            raise TypeError("meta must be a dict")
        stored = meta.of_notification(given_meta, self) if given_meta else {}
        time_ns = nanoseconds(at) if at and abs(at) < FAR else time.time_ns()
        host, plugin = host or self.settings.texts["hostname"], plugin or "python"
        parts = {"host": host, "plugin": plugin, "plugin_instance": plugin_instance}
        parts.update(type=type, type_instance=type_instance)
        shown = {key: text.shown(value) for key, value in parts.items() if value}
        named = ", ".join(f"{key} = {value}" for key, value in shown.items())
        word = mapping.SEVERITIES.get(severity, "UNKNOWN")
        told = f"Notification: severity = {word}, {named}"
        told += f", message = {text.shown(message)}" if message else ""
        log.write(log.INFO, self._name, told)
        if "plugin_instance" in shown:
            shown["instance"] = shown.pop("plugin_instance")
        interval = self.context.interval or self.settings.numbers["interval"]
        body = mapping.event_of(shown, severity, text.shown(message), time_ns, interval, stored)
        self._outbox.post(self.context.job, body)
        for callback in self.registry.all("notification"):
            note = classes.notification_of(parts, time_ns / 1e9, severity, message, stored)
            self.guarded("notification callback", callback, note)

    def log(self, severity: int, message: Text) -> None:
        """Logs a message and tells it to all log callbacks."""
        message = text.cut(message, text.LOG_BYTES)
        log.write(severity, self._speaker(), text.shown(message))
        self._tell_log_callbacks(severity, message)

    def log_exception(self, where: str, error: BaseException) -> None:
        """Logs what a callback has raised, in the original's words; with its traceback, which log callbacks get only
        where `LogTraces` is on."""
        if isinstance(error, classes.CollectdError):
            told = f"{type(error).__name__} in {where}: {log.message(error)}"
            self.log(log.WARNING, told)
            return
        self.log(log.ERROR, f"Unhandled python exception in {where}: {log.one_line(error)}")
        for whole in log.trace(error):
            part = text.cut(whole, text.LOG_BYTES)
            log.write(log.ERROR, self._speaker(), text.shown(part))
            if self.log_traces:
                self._tell_log_callbacks(log.ERROR, part)

    def _tell_log_callbacks(self, severity: int, message: Text) -> None:
        if self.context.is_logging:
            # A log callback that logs would never come to an end.
            return
        self.context.is_logging = True
        try:
            for callback in self.registry.all("log"):
                try:
                    callback.call(severity, message, *callback.data)
                except BaseException as error:
                    sys.stderr.write("".join(f"{part}\n" for part in log.trace(error)))
        finally:
            self.context.is_logging = False

    def _speaker(self) -> str:
        return log.calling_module() or self.context.owner or self.owner or self._name
