"""One run of a `Service` as the original makes it, and how failures slow it down."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FAILURES_TO_SLOW_DOWN = 5
_MOST_PENALTY = 600


def penalty(failures: int, update_every: Any, before: int) -> int:
    """Returns the seconds that are added to each pause after so many failures in a row; `before` is what they were."""
    if failures % _FAILURES_TO_SLOW_DOWN:
        return before
    # Python's `round` takes the even one of two: 2.5 gives 2.
    return round(min(failures * seconds(update_every) / 2, _MOST_PENALTY))


def run_once(service: Any) -> bool:
    """Updates a service once and keeps its counters; raises what the module raises, which is a failure too."""
    counters = service._runtime_counters
    counters.calc_next()
    started = time.time()
    since = max(0, int((started - counters.prev_update) * 1_000_000)) if counters.prev_update else 0
    is_updated = False
    try:
        is_updated = bool(service.update(since))
    finally:
        counters.runs += 1
        if is_updated:
            counters.prev_update = started
            counters.elapsed = (time.monotonic() - counters.start_mono) * 1000
            counters.retries = counters.penalty = 0
        else:
            counters.handle_retries()
    return is_updated


def run_for_ever(service: Any) -> None:
    """Updates a service at each multiple of its interval."""
    counters = service._runtime_counters
    while True:
        every, now = counters.update_every, time.monotonic()
        time.sleep(every - now % every + counters.penalty)
        try:
            run_once(service)
        except Exception as error:
            service.error(f"update() unhandled exception: {error}")


def seconds(update_every: Any) -> float:
    """Returns an interval that can be waited for, also where a module has set something else than a number."""
    try:
        every = float(update_every)
    except (TypeError, ValueError):
        return 1.0
    return every if 0 < every < float("inf") else 1.0
