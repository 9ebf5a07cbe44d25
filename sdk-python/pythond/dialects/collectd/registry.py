"""The callbacks of a process, with collectd's rules for two of one name.

read                              the first stays
write, log, notification, flush   the last replaces the one before, at its place
config, init, shutdown            all stay; the last registered comes first
"""

from __future__ import annotations

from pythond.dialects.collectd import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from pythond.dialects.collectd.text import Text

REPLACED = ("write", "log", "notification", "flush")
STACKED = ("config", "init", "shutdown")
PREFIX = "python."


class Callback:
    """A function of a plugin; `owner` is the import during which it was registered."""

    __slots__ = ("call", "data", "identifier", "owner")

    def __init__(self, identifier: Text, call: Callable[..., Any], data: tuple[Any, ...], owner: str) -> None:
        self.identifier = identifier
        self.call = call
        self.data = data
        self.owner = owner

    def place(self) -> tuple[str, int]:
        """Returns the file and line of the function; empty and 0 where that cannot be told."""
        call: Any = self.call
        call = getattr(call, "__func__", getattr(call, "func", call))
        code = getattr(call, "__code__", None)
        if code is None:
            code = getattr(vars(type(call)).get("__call__"), "__code__", None)
        return (code.co_filename, code.co_firstlineno) if code is not None else ("", 0)


class Registry:
    """All callbacks but those for reading, which are jobs."""

    def __init__(self) -> None:
        self._replaced: dict[str, dict[Text, Callback]] = {kind: {} for kind in REPLACED}
        self._stacked: dict[str, list[Callback]] = {kind: [] for kind in STACKED}

    def add(self, kind: str, callback: Callback) -> bool:
        """Takes a callback in; says whether it replaces another one."""
        if kind in STACKED:
            self._stacked[kind].insert(0, callback)
            return False
        known = self._replaced[kind]
        replaces = callback.identifier in known
        # A new dictionary: other threads may be going through the old one.
        self._replaced[kind] = {**known, callback.identifier: callback}
        return replaces

    def remove(self, kind: str, identifier: Text) -> bool:
        """Takes the last registered one of a name out; says whether there was one."""
        if kind in STACKED:
            stack = self._stacked[kind]
            found = next((one for one in stack if one.identifier == identifier), None)
            if found is not None:
                stack.remove(found)
            return found is not None
        known = dict(self._replaced[kind])
        found = known.pop(identifier, None)
        self._replaced[kind] = known
        return found is not None

    def remove_owner(self, owner: str) -> None:
        """Takes all callbacks of an import out."""
        for kind, stack in self._stacked.items():
            self._stacked[kind] = [one for one in stack if one.owner != owner]
        for kind, known in self._replaced.items():
            self._replaced[kind] = {key: one for key, one in known.items() if one.owner != owner}

    def all(self, kind: str) -> list[Callback]:
        """Returns the callbacks of a kind in the order in which they are called."""
        return list(self._stacked[kind] if kind in STACKED else self._replaced[kind].values())

    def has(self, kind: str) -> bool:
        return bool(self._stacked[kind] if kind in STACKED else self._replaced[kind])

    def for_config(self, name: str) -> Callback | None:
        """Returns the callback that a `<Module name>` block goes to; case does not matter."""
        wanted = (PREFIX + name).lower()
        return next((one for one in self._stacked["config"] if text.shown(one.identifier).lower() == wanted), None)

    def config_names(self) -> list[str]:
        """Returns the names that `<Module>` blocks may have."""
        return [text.shown(one.identifier)[len(PREFIX) :] for one in self._stacked["config"]]


def identifier_of(callback: object, name: Text | None = None) -> Text:
    """Returns `python.` and the name given, else the callback's module, else its address."""
    if name is None:
        module = getattr(callback, "__module__", None)
        name = module if isinstance(module, str) else hex(id(callback))
    data = name if isinstance(name, bytes) else name.encode("utf-8", "replace")
    return text.decoded((PREFIX.encode() + data)[: text.IDENTIFIER_BYTES])
