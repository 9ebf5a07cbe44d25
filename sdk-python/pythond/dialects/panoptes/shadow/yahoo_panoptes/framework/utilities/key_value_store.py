"""The key-value store of plugins: strings and sets of strings that outlive a run and expire."""

from __future__ import annotations

import fnmatch
import threading
import time

from ..validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Backend(Protocol):
        """Where pairs are kept; a time to live is in seconds, None is for ever."""

        def get(self, name: str) -> str | None: ...

        def put(self, name: str, value: str, expire: float | None) -> str | None:
            """Keeps a value and returns the one before it."""

        def ttl(self, name: str) -> float | None:
            """Returns the seconds left; None for a name that is not there, or without end."""

        def names(self, pattern: str) -> list[str]:
            """Returns the names that match a pattern with `*`, `?` and `[…]`."""

        def delete(self, name: str) -> bool: ...

        def add_member(self, name: str, member: str) -> None: ...

        def members(self, name: str) -> set[str]: ...


DEFAULT_EXPIRE = 604800


class PanoptesKeyValueStoreException(BaseException):
    """A key-value store failed."""


class PanoptesKeyValueStore:
    """Pairs of one namespace. Its methods raise `AssertionError` for what is no key or value."""

    def __init__(self, panoptes_context: Any, namespace: str) -> None:
        """`panoptes_context` knows where pairs are kept (`backend`); without that they are kept in memory."""
        assert PanoptesValidators.valid_nonempty_string(namespace), "namespace must be a non-empty str"
        self._panoptes_context = panoptes_context
        self._namespace = namespace
        self._backend: Backend = getattr(panoptes_context, "backend", None) or _memory

    def _normalized_key(self, key: str) -> str:
        return f"{self._namespace}:{key}"

    @property
    def namespace(self) -> str:
        return self._namespace

    def get(self, key: str) -> str | None:
        """Returns the value; None where there is none, or none any more."""
        _check(key, "key must be a non-empty str")
        return self._backend.get(self._normalized_key(key))

    def set(self, key: str, value: str, expire: int = DEFAULT_EXPIRE) -> bool:
        """Keeps a value for so many seconds."""
        self._put(key, value, expire)
        return True

    def getset(self, key: str, value: str, expire: int = DEFAULT_EXPIRE) -> str | None:
        """Keeps a value and returns the one before it."""
        return self._put(key, value, expire)

    def _put(self, key: str, value: str, expire: int) -> str | None:
        _check(key, "key must be a non-empty str")
        _check(value, "key value be a non-empty str")
        assert PanoptesValidators.valid_nonzero_integer(expire), "expire must be an integer greater than zero"
        return self._backend.put(self._normalized_key(key), value, expire)

    def ttl(self, key: str) -> int:
        """Returns the seconds that a key has left; -2 where it is not there, as Redis says it."""
        _check(key, "key must be a non-empty str")
        name = self._normalized_key(key)
        left = self._backend.ttl(name)
        if left is not None:
            return max(1, round(left))
        return -2 if self._backend.get(name) is None else -1

    def find_keys(self, pattern: str | None = None) -> list[str]:
        """Returns the keys that match a pattern with `*`, `?` and `[…]`; all without one."""
        before = self._normalized_key("")
        return [name[len(before) :] for name in self._backend.names(escaped(before) + (pattern or "*"))]

    def delete(self, key: str) -> int:
        """Removes a key; returns how many were there."""
        _check(key, "key must be a non-empty str or unicode")
        return int(self._backend.delete(self._normalized_key(key)))

    def set_members(self, set_name: str) -> set[str]:  # type: ignore[valid-type]  # `set` is a method here
        _check(set_name, "set_name must be a non-empty str")
        return self._backend.members(self._normalized_key(set_name))

    def set_add(self, set_name: str, member: str) -> int:
        _check(set_name, "set_name must be a non-empty str")
        _check(member, "member must be a non-empty str")
        self._backend.add_member(self._normalized_key(set_name), member)
        return 1


def _check(value: Any, text: str) -> None:
    assert PanoptesValidators.valid_nonempty_string(value), text


def escaped(text: str) -> str:
    """Returns the pattern that matches this text and no other."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in text)


class Memory:
    """A backend that forgets all with its process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._values: dict[str, tuple[str, float | None]] = {}
        self._sets: dict[str, set[str]] = {}

    def _alive(self, name: str) -> tuple[str, float | None] | None:
        found = self._values.get(name)
        if found is not None and found[1] is not None and found[1] <= time.time():
            del self._values[name]
            return None
        return found

    def get(self, name: str) -> str | None:
        with self._lock:
            found = self._alive(name)
            return None if found is None else found[0]

    def put(self, name: str, value: str, expire: float | None) -> str | None:
        with self._lock:
            before = self.get(name)
            self._values[name] = value, None if expire is None else time.time() + expire
            return before

    def ttl(self, name: str) -> float | None:
        with self._lock:
            found = self._alive(name)
            return None if found is None or found[1] is None else found[1] - time.time()

    def names(self, pattern: str) -> list[str]:
        with self._lock:
            return [name for name in list(self._values) if self._alive(name) and fnmatch.fnmatchcase(name, pattern)]

    def delete(self, name: str) -> bool:
        with self._lock:
            in_sets = self._sets.pop(name, None) is not None
            return (self._alive(name) is not None and self._values.pop(name, None) is not None) or in_sets

    def add_member(self, name: str, member: str) -> None:
        with self._lock:
            self._sets.setdefault(name, set()).add(member)

    def members(self, name: str) -> set[str]:
        with self._lock:
            return set(self._sets.get(name, ()))


_memory = Memory()
