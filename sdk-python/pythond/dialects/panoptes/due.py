"""When a plugin is run against which of its resources; pure: every time is an argument, in seconds of one clock.

Each resource has a grid of its own: the moment of its first run, and every `every` seconds from there. Resources that
come together are spread over the first minute (or the interval, if that is shorter), the first one at once, so that no
crowd of runs comes at the same time. What is due waits in order. A run that takes longer than its interval misses
points of the grid; it is never started twice to catch up.
"""

from __future__ import annotations

import heapq
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping, Sequence

LONGEST_SPREAD = 60.0


class Due:
    """A resource in the schedule."""

    __slots__ = ("due", "is_running", "key", "late", "not_before", "slot")

    def __init__(self, key: str, slot: float, due: float) -> None:
        self.key = key
        # A point of its grid.
        self.slot = slot
        self.due = due
        self.is_running = False
        # By how many seconds its last run began too late.
        self.late = 0.0
        # What it is left alone until, whatever the grid says.
        self.not_before = -math.inf


class Schedule:
    """All resources of a plugin."""

    def __init__(self, every: float) -> None:
        self.every = every
        self._known: dict[str, Due] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def add(self, keys: Sequence[str], now: float) -> dict[str, float]:
        """Adds resources that were never run; returns the first point of each one's grid."""
        step = min(self.every, LONGEST_SPREAD) / max(1, len(keys))
        slots = {key: now + number * step for number, key in enumerate(keys)}
        for key, slot in slots.items():
            self._push(Due(key, slot, slot))
        return slots

    def resume(self, slots: Mapping[str, float], ran_until: float, now: float) -> None:
        """Adds resources with their old grid: what was due since `ran_until` is due at once, and late."""
        for key, slot in slots.items():
            self._push(Due(key, slot, _next_point(slot, self.every, min(ran_until, now))))

    def slots(self) -> dict[str, float]:
        """Returns a point of each resource's grid."""
        return {key: one.slot for key, one in self._known.items()}

    def known(self) -> dict[str, Due]:
        """Returns what there is, by its key."""
        return dict(self._known)

    def remove(self, keys: Iterable[str]) -> None:
        """Drops resources; a run in progress ends undisturbed."""
        for key in keys:
            self._known.pop(key, None)

    def hold(self, key: str, until: float) -> None:
        """Leaves a resource alone until then."""
        one = self._known.get(key)
        if one is not None:
            one.not_before = until
            if not one.is_running and one.due < until:
                one.due = _next_point(one.slot, self.every, until)
                self._push(one)

    def take(self, now: float) -> Due | None:
        """Returns what has been due for the longest time, and takes it for running; None if nothing is due."""
        one = self._first()
        if one is None or one.due > now:
            return None
        heapq.heappop(self._heap)
        one.is_running = True
        one.late = now - one.due
        return one

    def done(self, one: Due, now: float) -> None:
        """Notes the end of a run: the next one is due at the next point of the grid."""
        one.is_running = False
        if self._known.get(one.key) is one:
            one.due = _next_point(one.slot, self.every, max(now, one.not_before))
            self._push(one)

    def all_now(self, now: float) -> None:
        """Makes due at once what does not run; the grids stay."""
        for one in self._known.values():
            if not one.is_running and one.due > now:
                one.due = now
                self._push(one)

    def next_due(self) -> float:
        """Returns when something is due; infinity if nothing is."""
        one = self._first()
        return math.inf if one is None else one.due

    def waiting(self, now: float) -> list[Due]:
        """Returns what is due and not taken, the longest first."""
        found = [one for one in self._known.values() if not one.is_running and one.due <= now]
        return sorted(found, key=lambda one: one.due)

    def _first(self) -> Due | None:
        while self._heap:
            due, _, key = self._heap[0]
            one = self._known.get(key)
            if one is not None and one.due == due and not one.is_running:
                return one
            # Dropped, or due at another time since.
            heapq.heappop(self._heap)
        return None

    def _push(self, one: Due) -> None:
        self._known[one.key] = one
        self._count += 1
        heapq.heappush(self._heap, (one.due, self._count, one.key))


def _next_point(slot: float, every: float, after: float) -> float:
    """Returns the first point of the grid that lies after a moment."""
    if after < slot:
        return slot
    point = slot + (math.floor((after - slot) / every) + 1) * every
    # Rounding can land on the moment itself.
    return point if point > after else point + every
