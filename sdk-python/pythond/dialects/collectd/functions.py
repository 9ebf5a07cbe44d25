"""The functions of the module `collectd`, with the signatures, checks and texts of the original."""

from __future__ import annotations

import types

from pythond.dialects.collectd import current, data_sets, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from pythond.dialects.collectd.text import Text

LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG = 3, 4, 5, 6, 7
_REGISTER = ("callback", "data", "name")
_REGISTER_READ = ("callback", "interval", "data", "name")
_ARGUMENTS_OF_FLUSH = ("plugin", "timeout", "identifier")
KINDS = ("config", "init", "read", "write", "flush", "log", "notification", "shutdown")


def _only(function: str, given: tuple[Any, ...], named: dict[str, Any], most: int = 0) -> Text:
    """Returns the only argument of a function that takes one text without a name."""
    if named:
        raise TypeError(f"{function}() takes no keyword arguments")
    if len(given) != 1:
        raise TypeError(f"function takes exactly 1 argument ({len(given)} given)")
    return text.argument(given[0], 1, most)


def _logs(name: str, severity: int, doc: str) -> Callable[..., None]:
    def log(_: object, *given: Any, **named: Any) -> None:
        current.daemon().log(severity, _only(name, given, named, text.LOG_BYTES))

    return _called(log, name, doc)


def _registers(kind: str) -> Callable[..., Text]:
    def register(_: object, *given: Any, **named: Any) -> Text:
        bound = text.bind(_REGISTER, given, named, "callback")
        name = text.argument(bound["name"], 3, text.IDENTIFIER_BYTES) if "name" in bound else None
        text.refuse_unknown(_REGISTER, bound)
        callback = _callable(bound["callback"])
        data = (bound["data"],) if "data" in bound else ()
        return current.daemon().register(kind, callback, data, name)

    doc = f"register_{kind}(callback[, data][, name]) -> identifier"
    return _called(register, f"register_{kind}", doc)


def _register_read(_: object, *given: Any, **named: Any) -> Text:
    """register_read(callback[, interval][, data][, name]) -> identifier"""
    bound = text.bind(_REGISTER_READ, given, named, "callback")
    interval = text.real(bound["interval"]) if "interval" in bound else 0.0
    name = text.argument(bound["name"], 4, text.IDENTIFIER_BYTES) if "name" in bound else None
    text.refuse_unknown(_REGISTER_READ, bound)
    callback = _callable(bound["callback"])
    data = (bound["data"],) if "data" in bound else ()
    return current.daemon().register_read(callback, interval, data, name)


def _callable(value: Any) -> Callable[..., object]:
    if not callable(value):
        raise TypeError("callback needs a be a callable object.")
    found: Callable[..., object] = value
    return found


def _unregisters(kind: str) -> Callable[..., None]:
    def unregister(_: object, *given: Any, **named: Any) -> None:
        if named:
            raise TypeError(f"collectd.unregister_{kind}() takes no keyword arguments")
        if len(given) != 1:
            raise TypeError(f"collectd.unregister_{kind}() takes exactly one argument ({len(given)} given)")
        which = given[0]
        if not isinstance(which, (str, bytes)) and not callable(which):
            raise TypeError("This function needs a string or a callable object as its only parameter.")
        found = text.attribute(which, text.IDENTIFIER_BYTES) if isinstance(which, (str, bytes)) else which
        current.daemon().unregister(kind, found)

    return _called(unregister, f"unregister_{kind}", f"unregister_{kind}(identifier or callback) -> None")


def _get_dataset(_: object, *given: Any, **named: Any) -> list[tuple[str, str, float | None, float | None]]:
    """get_dataset(name) -> [(name, type, min, max), …]"""
    name = _only("get_dataset", given, named, text.UNCUT)
    single = data_sets.single
    return [(one.name, one.kind, single(one.min), single(one.max)) for one in current.daemon().data_set(name)]


def _flush(_: object, *given: Any, **named: Any) -> None:
    """flush([plugin][, timeout][, identifier]) -> None"""
    bound = text.bind(_ARGUMENTS_OF_FLUSH, given, named)
    plugin = text.argument(bound["plugin"], 1, text.IDENTIFIER_BYTES) if "plugin" in bound else None
    timeout = text.integer(bound["timeout"]) if "timeout" in bound else -1
    identifier = text.argument(bound["identifier"], 3, text.IDENTIFIER_BYTES) if "identifier" in bound else None
    text.refuse_unknown(_ARGUMENTS_OF_FLUSH, bound)
    current.daemon().flush(plugin, timeout, identifier)


class _Module:
    """What the functions are bound to, so that none becomes a method where a class of a plugin has it as attribute:
    they are written in C in the original, where it stays a function."""

    def __repr__(self) -> str:
        return "<module 'collectd' (built-in)>"


_MODULE = _Module()


def _called(function: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__module__ = "collectd"
    return types.MethodType(function, _MODULE)


debug = _logs("debug", LOG_DEBUG, "debug(message) -> None")
info = _logs("info", LOG_INFO, "info(message) -> None")
notice = _logs("notice", LOG_NOTICE, "notice(message) -> None")
warning = _logs("warning", LOG_WARNING, "warning(message) -> None")
error = _logs("error", LOG_ERROR, "error(message) -> None")
register_config = _registers("config")
register_init = _registers("init")
register_write = _registers("write")
register_flush = _registers("flush")
register_log = _registers("log")
register_notification = _registers("notification")
register_shutdown = _registers("shutdown")
unregister_config = _unregisters("config")
unregister_init = _unregisters("init")
unregister_read = _unregisters("read")
unregister_write = _unregisters("write")
unregister_flush = _unregisters("flush")
unregister_log = _unregisters("log")
unregister_notification = _unregisters("notification")
unregister_shutdown = _unregisters("shutdown")
register_read = _called(_register_read, "register_read", _register_read.__doc__ or "")
get_dataset = _called(_get_dataset, "get_dataset", _get_dataset.__doc__ or "")
flush = _called(_flush, "flush", _flush.__doc__ or "")
