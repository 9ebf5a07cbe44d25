"""When a job is due: a fixed grid on the monotonic clock; pure."""

from __future__ import annotations

import math


def next_due(start: float, every: float, now: float) -> float:
    """Returns the first point of the grid `start, start + every, …` that lies after `now`.

    A job that took longer than its interval skips the points it missed; it is never started twice to catch up.
    """
    if now < start:
        return start
    due = start + (math.floor((now - start) / every) + 1) * every
    # Rounding can land on `now` itself, which would run the same point again.
    return due if due > now else due + every
