"""Texts and numbers as collectd's Python plugin takes and gives them, with its words where it does not."""

from __future__ import annotations

import math
import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    # Bytes: what is no UTF-8.
    Text = Union[str, bytes]

IDENTIFIER_BYTES = 511
MESSAGE_BYTES = 255
LOG_BYTES = 1023
# Of what is looked at before it is cut.
UNCUT = 1 << 30
DEFAULT_NAME_BYTES = 127


class Names:
    """How long names may be: host, plugin, type and so on."""

    def __init__(self) -> None:
        self.most = DEFAULT_NAME_BYTES

    def limit(self, most: int) -> None:
        """Cuts names at so many bytes from here on; 0: not at all."""
        self.most = most if most > 0 else UNCUT


names = Names()


def argument(value: Any, position: int, most: int = 0) -> Text:
    """Takes a text given as an argument, cut to `most` bytes (0: those of a name).

    Raises `TypeError` for another type or a NUL, `UnicodeEncodeError` for what has no UTF-8 form.
    """
    if type(value) is str and value.isascii() and len(value) <= (most or names.most) and "\0" not in value:
        return value
    data = _encoded(value) if isinstance(value, (str, bytes, bytearray)) else None
    if data is None:
        kind = "None" if value is None else type(value).__name__
        raise TypeError(f"argument {position} must be str, bytes or bytearray, not {kind}")
    if b"\0" in data:
        kind = type(value).__name__
        raise TypeError(f"argument {position} must be encoded string without null bytes, not {kind}")
    return decoded(data[: most or names.most])


def attribute(value: Any, most: int = 0) -> Text:
    """Takes a text assigned to an attribute, cut to `most` bytes (0: those of a name) and at a NUL.

    Raises `TypeError` and `UnicodeEncodeError`.
    """
    if type(value) is str and value.isascii() and len(value) <= (most or names.most) and "\0" not in value:
        return value
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"expected bytes, {type(value).__name__} found")
    return decoded(_encoded(value).partition(b"\0")[0][: most or names.most])


def _encoded(value: str | bytes | bytearray) -> bytes:
    return str(value).encode("utf-8") if isinstance(value, str) else bytes(value)


def cut(value: Text, most: int) -> Text:
    """Returns a text without what is beyond `most` bytes."""
    if len(value) * 4 <= most:
        return value
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return decoded(data[:most]) if len(data) > most else value


def decoded(data: bytes) -> Text:
    """Returns bytes as plugins get them: a text where they are UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def real(value: Any) -> float:
    """Takes a real number. Raises `TypeError`: `must be real number, not str`."""
    return value if type(value) is float else math.ldexp(value, 0)


def integer(value: Any) -> int:
    """Takes an integer of 32 bits given as an argument. Raises `TypeError`, `OverflowError`."""
    # `int`: in older Pythons an index may be a bool.
    number = int(operator.index(value))
    if number > 0x7FFFFFFF:
        raise OverflowError("signed integer is greater than maximum")
    if number < -0x80000000:
        raise OverflowError("signed integer is less than minimum")
    return number


def shown(value: Text) -> str:
    """Returns a text for people and for tags."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def bind(
    names_of: tuple[str, ...], given: tuple[Any, ...], named: dict[str, Any], required: str = "", function: str = ""
) -> dict[str, Any]:
    """Returns arguments by name, as C functions of Python take them. Raises `TypeError`."""
    who = f"{function}()" if function else "function"
    count = len(given) + len(named)
    if count > len(names_of):
        kind = "" if given else "keyword "
        many = "" if len(names_of) == 1 else "s"
        raise TypeError(f"{who} takes at most {len(names_of)} {kind}argument{many} ({count} given)")
    bound = dict(zip(names_of, given))
    for number, name in enumerate(names_of, 1):
        if name in named and name in bound:
            raise TypeError(f"argument for {who} given by name ('{name}') and position ({number})")
    bound.update(named)
    if required and required not in bound:
        raise TypeError(f"{who} missing required argument '{required}' (pos {names_of.index(required) + 1})")
    return bound


def refuse_unknown(names_of: tuple[str, ...], bound: dict[str, Any], function: str = "") -> None:
    """Raises `TypeError` for a name that is no argument; the arguments themselves are looked at before."""
    for name in bound:
        if name not in names_of:
            who = f"{function}()" if function else "this function"
            raise TypeError(f"'{name}' is an invalid keyword argument for {who}")
