"""Runs to its end what an `async def` returns: one event loop for each job, kept from run to run.

Tasks that a run leaves behind go on while the next one runs. At a stop the run under way is cancelled, and all that is
left when the loop is closed.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any


def is_coroutine(value: object) -> bool:
    """Says whether a value does nothing until somebody awaits it."""
    cls = type(value)
    return (hasattr(cls, "__await__") and hasattr(cls, "send")) or _is_old_coroutine(value)


def _is_old_coroutine(value: object) -> bool:
    """Says whether a value is a generator that was decorated as a coroutine (CO_ITERABLE_COROUTINE)."""
    code = getattr(value, "gi_code", None)
    return code is not None and bool(code.co_flags & 0x100)


class JobLoop:
    """The event loop of one job; it is made when there is something to await."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    def finish(self, value: Any) -> Any:
        """Awaits a value in the calling thread, which is always the same one; returns what comes of it.

        Raises what it raises; None comes of one that was cancelled because of a stop.
        """
        import asyncio

        with self._lock:
            if self._is_cancelled:
                getattr(value, "close", lambda: None)()
                return None
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            loop = self._loop
            task = self._task = loop.create_task(_awaited(value))
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if self._is_cancelled:
                return None
            raise
        finally:
            self._task = None

    def cancel(self) -> None:
        """Cancels what is being awaited, and all that comes after it; from any thread.

        Once only: a second one would hit what the first has it clean up.
        """
        with self._lock:
            if self._is_cancelled:
                return
            self._is_cancelled = True
            loop, task = self._loop, self._task
            if loop is not None and task is not None:
                loop.call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """Cancels what is left, waits until it has ended, and closes the loop."""
        with self._lock:
            self._is_cancelled = True
            loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            loop.run_until_complete(_all_ended(loop))
        finally:
            loop.close()


async def _awaited(value: Any) -> Any:
    return await value


async def _all_ended(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    left = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task(loop)]
    for task in left:
        task.cancel()
    for outcome in await asyncio.gather(*left, return_exceptions=True):
        if isinstance(outcome, Exception):
            loop.call_exception_handler({"message": "a task that a run has left behind failed", "exception": outcome})
    await loop.shutdown_asyncgens()
    end_executor = getattr(loop, "shutdown_default_executor", None)
    if end_executor is not None:  # since Python 3.9
        await end_executor()
