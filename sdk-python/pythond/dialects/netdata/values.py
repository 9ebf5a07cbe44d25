"""What counts as a number in a module's data."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# Beyond it there are no floats.
_MOST = 1 << 1023


class NotANumber(ValueError, OverflowError):
    """A value that was meant as one and is none: netdata ends the update here, we leave the value out and name it.

    Both of what `int` raises, for modules that ask a dimension themselves.
    """


def number(value: Any, fractions: bool) -> int | float | None:
    """Returns a value as a number; None for what is no value at all (None, a list).

    Without `fractions` it is cut towards 0, as netdata does. Whole numbers stay whole, so that large counters stay
    exact. Raises `NotANumber`.
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and abs(value) < _MOST:
        return value
    try:
        if not fractions:
            return int(value)
        return _exact(value)
    except TypeError:
        return None
    except (ValueError, OverflowError) as error:
        raise NotANumber(f"{_shown(value)} is no number") from error


def _exact(value: Any) -> int | float:
    if isinstance(value, (str, bytes, bytearray)):
        try:
            return int(value)
        except ValueError:
            pass
    try:
        found = float(value)
    except TypeError:
        return int(value)
    if not math.isfinite(found):
        raise ValueError
    return found


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
