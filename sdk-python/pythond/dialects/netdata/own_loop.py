"""A `Service` whose `run` is the module's own: a loop of its own, in a thread of its own.

No known module has one; the original would call it in the thread of the job.
"""

from __future__ import annotations

import threading
import time

from pythond.dialects.netdata import link as links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pythond.dialects.netdata.link import Link


class OwnLoop:
    """The thread, started at the first look."""

    def __init__(self, service: Any, link: Link) -> None:
        self._service = service
        self._link = link
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"run of {service.name}", daemon=True)
        self._is_started = False

    def follow(self, seconds: float) -> None:
        """Waits for its next values, at most so long; raises what ended it."""
        if not self._is_started:
            self._is_started = True
            self._thread.start()
        until = time.monotonic() + seconds
        while self._thread.is_alive() and not self._service.charts._updates and time.monotonic() < until:
            time.sleep(min(0.05, seconds))
        if not self._thread.is_alive() and not self._service.charts._updates:
            raise self._error or RuntimeError("`run` of the module has returned")

    def _run(self) -> None:
        try:
            with links.making(self._link):
                self._service.run()
        except BaseException as error:
            self._error = error
