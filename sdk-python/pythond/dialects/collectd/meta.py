"""Meta data: what a dictionary of a plugin becomes.

bool → bool · float → float · Signed, Unsigned, whole numbers → Signed or Unsigned · text → text · else its `str`
"""

from __future__ import annotations

from pythond.dialects.collectd import text
from pythond.dialects.collectd.classes import Signed, Unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pythond.dialects.collectd.text import Text

    class Log(Protocol):
        def log_exception(self, where: str, error: BaseException) -> None: ...


_MOST_SIGNED = 2**63 - 1
_MOST_UNSIGNED = 2**64 - 1


def of_values(given: dict[Any, Any], log: Log) -> dict[Text, Any]:
    """Returns meta data of values: of two keys that differ in case only, the later one stays."""
    by_lower: dict[Text, tuple[Text, Any]] = {}
    for key, value in _converted(given, log):
        by_lower[key.lower()] = (key, value)
    return dict(by_lower.values())


def of_notification(given: dict[Any, Any], log: Log) -> dict[Text, Any]:
    """Returns meta data of a notification: its keys are as long as other names at most."""
    return dict(_converted(given, log, text.names.most))


def _converted(given: dict[Any, Any], log: Log, most: int = text.UNCUT) -> list[tuple[Text, Any]]:
    found: list[tuple[Text, Any]] = []
    # Not the class's own `items`: the original does not ask it either.
    for key, value in list(dict.items(given)):
        if not isinstance(key, (str, bytes)):
            continue
        try:
            found.append((text.attribute(key, most), _value(value)))
        except Exception as error:
            log.log_exception("building meta data", error)
    return found


def _is_number(value: Any) -> bool:
    """Says whether Python's C interface takes a thing for a number."""
    cls = type(value)
    return isinstance(value, complex) or any(hasattr(cls, name) for name in ("__index__", "__int__", "__float__"))


def _value(value: Any) -> Any:
    """Returns a value as it is kept. Raises `OverflowError` for an integer that fits nowhere, what `int` raises."""
    if isinstance(value, (bool, float)):
        return value if isinstance(value, bool) else float(value)
    if isinstance(value, Signed):
        return Signed(_fitting(value, -_MOST_SIGNED - 1, _MOST_SIGNED))
    if isinstance(value, Unsigned):
        return Unsigned(_fitting(value, 0, _MOST_UNSIGNED))
    if _is_number(value):
        number = int(value)
        if -_MOST_SIGNED - 1 <= number <= _MOST_SIGNED:
            return Signed(number)
        return Unsigned(_fitting(number, 0, _MOST_UNSIGNED))
    if isinstance(value, (str, bytes)):
        return text.attribute(value, text.UNCUT)
    return text.attribute(str(value), text.UNCUT)


def _fitting(number: int, low: int, high: int) -> int:
    if number < low:
        raise OverflowError("can't convert negative int to unsigned" if low == 0 else "int too big to convert")
    if number > high:
        raise OverflowError("int too big to convert")
    return number
