"""Read callbacks as jobs: each with its own interval, and one that doubles while it fails."""

from __future__ import annotations

import time

from pythond.awaiting import is_coroutine
from pythond.dialects import Job
from pythond.dialects.collectd import log, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pythond.dialects.collectd.daemon import Daemon
    from pythond.dialects.collectd.registry import Callback
    from pythond.dialects.collectd.text import Text


class ReadJob(Job):
    """One read callback."""

    def __init__(self, daemon: Daemon, callback: Callback, interval: float) -> None:
        self.key = text.shown(callback.identifier)
        self.every = interval
        path, line = callback.place()
        self.line = line
        self.title = callback.owner if callback.owner and f"python.{callback.owner}" != self.key else ""
        self.interval = interval
        self.callback = callback
        self.is_removed = False
        # How often the interval has been doubled.
        self.doubled = 0
        self._daemon = daemon
        self._path = path

    def run(self) -> None:
        """Calls the callback; what it raises is logged, doubles the interval and is raised again."""
        if self.is_removed:
            return
        daemon, context = self._daemon, self._daemon.context
        with daemon.readers:
            started = time.monotonic()
            context.job, context.interval, context.owner = self, self.interval, self.callback.owner
            try:
                _refuse_coroutine(self.callback.call(*self.callback.data))
                self._tell_slow(time.monotonic() - started)
            except BaseException as error:
                daemon.log_exception("read callback", error)
                self.fail()
                raise
            finally:
                daemon.end_of_run(self)
                context.job, context.interval, context.owner = None, None, ""
            self.every, self.doubled = self.interval, 0

    def fail(self) -> None:
        """Doubles the interval, up to `MaxReadInterval`."""
        most = max(self.interval, self._daemon.settings.numbers["maxreadinterval"])
        self.every = min(self.every * 2, most)
        self.doubled += 1
        told = f"read-function of plugin `{self.key}' failed. Will suspend it for {self.every:.3f} seconds."
        self._daemon.log(log.NOTICE, told)

    def _tell_slow(self, took: float) -> None:
        if took <= self.every:
            return
        told = (
            f"plugin_read_thread: read-function of the `{self.key}' plugin took {took:.3f} seconds, which is above "
            f"its read interval ({self.every:.3f} seconds). "
            "You might want to adjust the `Interval' or `ReadThreads' settings."
        )
        self._daemon.log(log.WARNING, told)


def _refuse_coroutine(returned: object) -> None:
    """Raises `TypeError` for a callback that is `async def`: collectd calls it, and nothing of its body runs."""
    if is_coroutine(returned):
        returned.close()  # type: ignore[attr-defined]
        raise TypeError("the callback is `async def`, which collectd does not await; call `asyncio.run` in it")


class FlushJob(Job):
    """`FlushInterval` of `<LoadPlugin python>`: flushes one callback again and again."""

    def __init__(self, daemon: Daemon, identifier: Text, every: float, timeout: float) -> None:
        self.key = f"flush/{text.shown(identifier)}"
        self.every = every
        self._daemon = daemon
        self._identifier = identifier
        self._timeout = int(timeout)

    def run(self) -> None:
        self._daemon.flush(self._identifier, self._timeout, None)
