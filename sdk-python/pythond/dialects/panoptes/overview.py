"""The table of resources, for `pythond status NAME --resources`; pure: times and what is known are arguments."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping

    from yahoo_panoptes.framework.resources import PanoptesResource

_OF_ALL = ("RESOURCE", "CLASS", "ENDPOINT", "SITE", "GONE IN")
COLUMNS = (*_OF_ALL, "NEXT", "LAST")
COLUMNS_OF_DISCOVERY = _OF_ALL
# What is due is taken a moment later.
_LATE = 1.0
_NEVER = "-"


class Turn:
    """Where a resource stands in the schedule, and how its last run went: empty where there was none yet."""

    __slots__ = ("due_in", "is_running", "last")

    def __init__(self, is_running: bool, due_in: float, last: str) -> None:
        self.is_running = is_running
        self.due_in = due_in
        self.last = last


def rows(
    resources: Iterable[PanoptesResource], expiries: Mapping[str, float], turns: Mapping[str, Turn], wall: float
) -> list[list[str]]:
    """Returns a row for each resource that has a turn. `expiries` are times of the wall clock; infinity is never."""
    some = [one for one in sorted(resources, key=_by_id) if one.serialization_key in turns]
    return [
        [*_row(one, expiries.get(one.serialization_key, wall), wall), *_told(turns[one.serialization_key])]
        for one in some
    ]


def rows_of_discovery(
    resources: Iterable[PanoptesResource], expiries: Mapping[str, float], wall: float
) -> list[list[str]]:
    """Returns a row for each resource that a discovery plugin has found."""
    return [_row(one, expiries.get(one.serialization_key, wall), wall) for one in sorted(resources, key=_by_id)]


def _by_id(resource: PanoptesResource) -> tuple[str, str]:
    return resource.resource_id, resource.serialization_key


def _row(resource: PanoptesResource, expires: float, wall: float) -> list[str]:
    kind = f"{resource.resource_class}.{resource.resource_subclass}.{resource.resource_type}"
    gone_in = _NEVER if math.isinf(expires) else span(expires - wall)
    return [resource.resource_id, kind, resource.resource_endpoint, resource.resource_site, gone_in]


def _told(turn: Turn) -> list[str]:
    return [_next(turn), turn.last or "no run since the start"]


def _next(turn: Turn) -> str:
    if turn.is_running:
        return "running"
    if turn.due_in > 0:
        return f"in {span(turn.due_in)}"
    return "now" if -turn.due_in <= _LATE else f"late by {span(-turn.due_in)}"


def span(seconds: float) -> str:
    """Returns `under 1 s`, `12 s`, `3 min`, `2 h 11 min`, `4 d`: as the rest of the status has it."""
    whole = math.floor(max(seconds, 0.0) + 0.5)
    if whole < 1:
        return "under 1 s"
    if whole < 120:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d"
