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

    `phase` (0 to 1) moves the grid by up to an interval, at most 10 s, so that units that started together do not run
    in step. The second run comes no sooner than half an interval after `now`.
    """
    if not phase:
        return next_due(start, every, now)
    return joined_due(start, every, phase, now)


def joined_due(start: float, every: float, phase: float, now: float) -> float:
    """Returns when the second run of a job is due that joins the grid of others, which began at `start`.

    Jobs of one process run close to each other, so that it wakes once for all of them, and so does the agent.
    """
    due = next_due(start + phase * min(every, _MOST_SHIFT) - every, every, now)
    return due if due - now >= every / 2 else due + every


def place_in_turn(number: int, every: float) -> float:
    """Returns by how much the grid of a job is moved so that jobs of one process do not all wake at one moment, which
    costs each of them more than the wait: threads that ask for the interpreter's lock at once wake each other tens of
    times for each run."""
    return number * _PITCH % (every / 2)


_MOST_SHIFT = 10.0
# More than what a short run takes.
_PITCH = 0.0003
_LONGEST_AFTER_FAILURES = 60.0


def pause_after_checks(failures: int, every: float) -> float:
    """Returns how long to wait after so many checks in a row have raised: an interval, doubling to a minute."""
    return max(every, min(every * 2.0 ** min(failures - 1, 16), _LONGEST_AFTER_FAILURES))


def pause_of(value: object) -> float | None:
    """Returns the pause that a run has asked for, if what it returned is one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        return None
    return float(value)


def interval_of(value: object, before: float) -> float:
    """Returns an interval that can be waited for; that of before where `value` is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        return before
    return float(value)
