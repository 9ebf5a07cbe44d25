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


def second_due(start: float, every: float, phase: float, now: float) -> float:
    """Returns when the second run is due, and so the grid from there on.

    `phase` (0 to 1) moves the grid by up to an interval, at most 10 s, so that scripts that started together do not run
    in step. The second run comes no sooner than half an interval after `now`.
    """
    if not phase:
        return next_due(start, every, now)
    due = next_due(start + phase * min(every, _MOST_SHIFT) - every, every, now)
    return due if due - now >= every / 2 else due + every


_MOST_SHIFT = 10.0
