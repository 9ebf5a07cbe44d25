"""Why a run gave nothing, in words that say what to change."""

from __future__ import annotations

import re

from pythond.dialects.netdata import link as links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Sequence

_MOST_NAMES = 10
# `<urllib3.connection.HTTPConnection object at 0x7f…>: `, which is another one each time.
_ADDRESS = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>(?:: )?")


def of_data(data: Any, dimensions: Iterable[Any], is_all_unknown: bool) -> str:
    """Says why data gave no chart a value; `is_all_unknown`: none of its keys is a dimension."""
    if data is links.NOTHING:
        return "update gave no chart a value"
    if not data or not isinstance(data, dict):
        return f"get_data returned {shown(data)}"
    if not is_all_unknown:
        return f"get_data returned no number for any dimension: {shown(data)}"
    return unknown_keys(list(data), dimensions)


def unknown_keys(keys: Iterable[Any], dimensions: Iterable[Any]) -> str:
    """Says which keys of the data are no dimensions, with the dimensions, the most alike first."""
    import difflib

    names = [str(key) for key in keys]
    known = [str(one) for one in dimensions]
    first = names[0] if names else ""
    known.sort(key=lambda name: -difflib.SequenceMatcher(None, first, name).ratio())
    there = f"the dimensions are {listed(known)}" if known else "there are no dimensions"
    return f"get_data returned {listed(names)}; {there}"


def listed(names: list[str]) -> str:
    """Returns the first names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def shown(value: Any) -> str:
    """Returns what a module returned, short: `None`, `{}`, `a list`."""
    if value is None or isinstance(value, (bool, int, float)) or (isinstance(value, dict) and not value):
        return repr(value)
    if isinstance(value, dict):
        try:
            text = repr(value)
        except Exception:
            return "a dict"
        return text if len(text) <= 120 else text[:117] + "..."
    kind = type(value).__name__
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"


def of_check(result: Any, data: Any, last_error: str) -> str:
    """Says why a check found nothing."""
    why = f"check returned {shown(result)}" if data is links.NOTHING else f"get_data returned {shown(data)}"
    # One line, and the same one each time.
    text = " ".join(_ADDRESS.sub("", last_error).split())
    return f"{why}: {text}" if text else why


def of_ways(reasons: Sequence[tuple[str, str]]) -> str:
    """Returns why no way found anything, those with one reason together."""
    if len(reasons) == 1:
        return reasons[0][1]
    ways: dict[str, list[str]] = {}
    for key, reason in reasons:
        ways.setdefault(reason, []).append(key)
    return "; ".join(f"{', '.join(keys)}: {reason}" for reason, keys in ways.items())
