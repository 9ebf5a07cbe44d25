"""The classes of the module `collectd`, with the signatures, checks and texts of the original.

Attributes lie in slots, so that they are read as fast as in C; `__setattr__` checks and cuts what is written.
"""

from __future__ import annotations

import operator

from pythond.dialects.collectd import current, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping

    from pythond.dialects.collectd.text import Text
    from pythond.dialects.collectd.value_lists import ValueList

    Check = Callable[[Any], Any]

_UNSET: Any = object()


class CollectdError(Exception):
    """An error that a plugin expects: raised in a callback, it is logged as a warning in one line,
    and never with a traceback, whatever `LogTraces` is set to."""


class Signed(int):
    """A number of meta data that is to be an integer with a sign, of 64 bits; otherwise it stays a plain number."""

    __slots__ = ()


class Unsigned(int):
    """A number of meta data that is to be an integer without a sign, 64 bits; otherwise it stays a plain number."""

    __slots__ = ()


class Config:
    """A statement of collectd.conf, as a callback for the configuration gets it: its `key`, the `values` behind it
    (text, float or bool), what stands in the block as `children`, and the block around it as `parent`. Each block
    is told as one tree."""

    __slots__ = ("children", "key", "parent", "values")

    def __init__(self, *given: Any, **named: Any) -> None:
        order = ("key", "parent", "values", "children")
        bound = text.bind(order, given, named, "key")
        if not isinstance(bound["key"], (str, bytes)):
            raise TypeError("argument 1 must be str")
        text.refuse_unknown(order, bound)
        self.key = bound["key"]
        self.parent = bound.get("parent")
        self.values = bound.get("values", ())
        self.children = bound.get("children", ())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_no_attribute(self, name))

    def __setattr__(self, name: str, value: Any) -> None:
        _set_plain(self, name, value)

    def __repr__(self) -> str:
        key = getattr(self, "key", "<NULL>")
        parent = getattr(self, "parent", None)
        return f"{str(key)!r}<collectd.Config {'root ' if parent is None else ''}node >"


def _set_plain(one: object, name: str, value: Any) -> None:
    try:
        object.__setattr__(one, name, value)
    except AttributeError as error:
        if hasattr(type(one), name):
            shown = _shown_type(one)
            raise AttributeError(f"'{shown}' object attribute '{name}' is read-only") from error
        raise AttributeError(_no_attribute(one, name)) from None


def _no_attribute(one: object, name: str) -> str:
    return f"'{_shown_type(one)}' object has no attribute '{name}'"


def _shown_type(one: object) -> str:
    cls = type(one)
    return f"collectd.{cls.__name__}" if cls.__module__ == "collectd" else cls.__name__


def _type(value: Any) -> Text:
    """Takes the name of a type assigned to an attribute."""
    name = text.attribute(value, text.UNCUT)
    current.daemon().data_set(name)
    return name


def _severity(value: Any) -> int:
    """Takes a severity assigned to an attribute: what C keeps of it."""
    number = operator.index(value)
    if not -(2**63) <= number < 2**63:
        raise OverflowError("Python int too large to convert to C long")
    return ((number + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _as_is(value: Any) -> Any:
    return value


def _text_argument(position: int, most: int) -> Check:
    return lambda value: text.argument(value, position, most)


def _name_argument(position: int) -> Check:
    names = text.names

    def check(value: Any) -> Any:
        # As `text.argument` begins, without the call: it is made for each name of each value list.
        if type(value) is str and len(value) <= names.most and value.isascii() and "\0" not in value:
            return value
        return text.argument(value, position)

    return check


class PluginData:
    """What values and notifications have in common: where they come from, and when."""

    __slots__ = ("host", "plugin", "plugin_instance", "time", "type", "type_instance")

    def __init__(self, *given: Any, **named: Any) -> None:
        _init(self, _ORDER_OF_DATA, given, named)

    def __getattr__(self, name: str) -> Any:
        if name in _HAVE[_kind(self)] and _fill(self):
            return object.__getattribute__(self, name)
        raise AttributeError(_no_attribute(self, name))

    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self)
        if cls is not Values and cls is not Notification and _hides(cls, name):
            object.__setattr__(self, name, value)
            return
        check = _ATTRIBUTES.get(name)
        if check is not None:
            value = check(value)
        _set_plain(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in _TEXTS and hasattr(type(self), name):
            raise TypeError("Cannot delete this attribute")
        if name in _NUMBERS and hasattr(type(self), name):
            raise TypeError("can't delete numeric/char attribute")
        try:
            object.__delattr__(self, name)
        except AttributeError:
            if name in ("values", "meta") and hasattr(type(self), name):
                raise AttributeError(name) from None
            if hasattr(type(self), name):
                shown = _shown_type(self)
                raise AttributeError(f"'{shown}' object attribute '{name}' is read-only") from None
            raise AttributeError(_no_attribute(self, name)) from None

    def __repr__(self) -> str:
        cls = type(self)
        name = f"collectd.{cls.__name__}" if cls.__module__ == "collectd" else cls.__name__
        kept = _kept(self)
        parts = [f"type={kept.type!r}"]
        for key in _SHOWN:
            value = getattr(kept, key, None) if key in _HAVE[_kind(kept)] else None
            if _is_shown(key, value, kept):
                parts.append(f"{key}={value!r}")
        return f"{name}({','.join(parts)})"


def _hides(cls: type[PluginData], name: str) -> bool:
    """Says whether a plugin's own class has something else where this module has an attribute."""
    kind = Values if issubclass(cls, Values) else Notification if issubclass(cls, Notification) else PluginData
    return name in _HAVE[kind] and getattr(cls, name) is not getattr(kind, name)


def _is_shown(key: str, value: Any, one: object) -> bool:
    """Says whether a repr names an attribute: not what is empty as it was made."""
    if key == "values":
        return hasattr(one, key) and not (type(value) is list and not value)
    if key == "meta":
        return hasattr(one, key) and not (type(value) is dict and not value)
    return bool(value)


class Values(PluginData):
    """A list of numbers that is dispatched to collectd, or that a callback for writing gets to see here."""

    __slots__ = ("interval", "meta", "values")

    def __init__(self, *given: Any, **named: Any) -> None:
        # As `_init`, in one piece: it is done for each value list.
        checks = _CHECKS_OF_VALUES
        try:
            bound = {name: checks[name](value) for name, value in named.items()}
        except Exception:
            # Said below, of the first argument that is wrong.
            bound = None
        if given or bound is None:
            bound = _converted(_ORDER_OF_VALUES, given, named)
        if "type" in bound:
            current.daemon().data_set(bound["type"])
        _reset_values(self)
        setters = _SETTERS_OF_VALUES
        for name, value in bound.items():
            setters[name](self, value)

    def dispatch(self, *given: Any, **named: Any) -> None:
        """dispatch([type][, values][, plugin_instance][, type_instance][, plugin][, host][, time][, interval][, meta])

        Hands the values over. What is given here counts for this call only, in place of the attribute.
        """
        if type(self) is not Values:
            self = _kept(self)
        if not given and not named:
            # `getattr`: these two can be deleted.
            values, meta = getattr(self, "values", None), getattr(self, "meta", None)
            dispatch = current.daemon().dispatch_values
            # fmt: off
            dispatch(self.type, values, meta, self.host, self.plugin, self.plugin_instance, self.type_instance,
                     self.time, self.interval)
            # fmt: on
            return
        is_plain = not given and named.keys() <= _UNCHECKED
        bound = named if is_plain else _converted(_ORDER_OF_VALUES, given, named)
        current.daemon().dispatch_values(
            bound.get("type", self.type),
            bound["values"] if "values" in bound else getattr(self, "values", None),
            bound["meta"] if "meta" in bound else getattr(self, "meta", None),
            bound.get("host", self.host),
            bound.get("plugin", self.plugin),
            bound.get("plugin_instance", self.plugin_instance),
            bound.get("type_instance", self.type_instance),
            bound.get("time", self.time),
            bound.get("interval", self.interval),
        )

    def write(self, *given: Any, **named: Any) -> None:
        """write([destination][, type][, values][, …as dispatch…])

        Hands the values to one writer at once, or to all of them.
        """
        self = _kept(self)
        bound = _converted(_ORDER_OF_WRITE, given, named)
        current.daemon().write_values(
            text.shown(bound["destination"]) if "destination" in bound else None,
            bound.get("type", self.type),
            bound["values"] if "values" in bound else getattr(self, "values", None),
            bound["meta"] if "meta" in bound else getattr(self, "meta", None),
            bound.get("host", self.host),
            bound.get("plugin", self.plugin),
            bound.get("plugin_instance", self.plugin_instance),
            bound.get("type_instance", self.type_instance),
            bound.get("time", self.time),
            bound.get("interval", self.interval),
        )


class Notification(PluginData):
    """A message with a severity, about a thing that is named as values are: a plugin makes one and dispatches it, and
    whoever has registered a callback for notifications gets it, at once, and in the thread of the plugin; its severity
    is one of `NOTIF_FAILURE`, `NOTIF_WARNING`, `NOTIF_OKAY`; its type must be known."""

    __slots__ = ("message", "meta", "severity")

    def __init__(self, *given: Any, **named: Any) -> None:
        _init(self, _ORDER_OF_NOTIFICATION, given, named)

    def dispatch(self, *given: Any, **named: Any) -> None:
        """dispatch([type][, message][, plugin_instance][, type_instance][, plugin][, host][, time][, severity][, meta])

        Hands the notification to all who want it. What is given here counts for this call only.
        """
        self = _kept(self)
        bound = _converted(_ORDER_OF_NOTIFICATION, given, named)
        pick = bound.get
        current.daemon().dispatch_notification(
            pick("type", self.type),
            pick("message", self.message),
            bound["meta"] if "meta" in bound else getattr(self, "meta", None),
            pick("host", self.host),
            pick("plugin", self.plugin),
            pick("plugin_instance", self.plugin_instance),
            pick("type_instance", self.type_instance),
            pick("time", self.time),
            pick("severity", self.severity),
        )


_ORDER_OF_DATA = ("type", "plugin_instance", "type_instance", "plugin", "host", "time")
_ORDER_OF_VALUES = (
    *("type", "values", "plugin_instance", "type_instance", "plugin", "host", "time", "interval", "meta"),
)
_ORDER_OF_WRITE = ("destination", *_ORDER_OF_VALUES)
_ORDER_OF_NOTIFICATION = (
    *("type", "message", "plugin_instance", "type_instance", "plugin", "host", "time", "severity", "meta"),
)
_TEXTS = ("host", "plugin", "plugin_instance", "type", "type_instance", "message")
_NUMBERS = ("time", "interval", "severity")
# In the order of the repr; `type` stands before them.
_SHOWN: tuple[str, ...] = (
    *("type_instance", "plugin", "plugin_instance", "host", "time", "interval", "severity", "message"),
    *("values", "meta"),
)
_HAVE: dict[type[PluginData], frozenset[str]] = {
    PluginData: frozenset(_ORDER_OF_DATA),
    Values: frozenset(_ORDER_OF_VALUES),
    Notification: frozenset(_ORDER_OF_NOTIFICATION),
}
_ATTRIBUTES: dict[str, Check] = {
    "host": text.attribute,
    "plugin": text.attribute,
    "plugin_instance": text.attribute,
    "type": _type,
    "type_instance": text.attribute,
    "message": lambda value: text.attribute(value, text.MESSAGE_BYTES),
    "time": text.real,
    "interval": text.real,
    "severity": _severity,
}


def _checks(order: tuple[str, ...]) -> dict[str, Check]:
    """Returns what looks at each argument of a function; texts are named by their place in complaints."""
    checks: dict[str, Check] = {}
    for number, name in enumerate(order, 1):
        if name == "message":
            checks[name] = _text_argument(number, text.MESSAGE_BYTES)
        elif name == "destination":
            checks[name] = _text_argument(number, text.IDENTIFIER_BYTES)
        elif name == "type":
            checks[name] = _text_argument(number, text.UNCUT)
        elif name in _TEXTS:
            checks[name] = _name_argument(number)
        elif name == "severity" or (name == "interval" and order is _ORDER_OF_WRITE):
            checks[name] = text.integer
        elif name in ("time", "interval"):
            checks[name] = text.real
        else:
            checks[name] = _as_is
    return checks


_CHECKS: dict[tuple[str, ...], dict[str, Check]] = {
    order: _checks(order) for order in (_ORDER_OF_DATA, _ORDER_OF_VALUES, _ORDER_OF_WRITE, _ORDER_OF_NOTIFICATION)
}


_CHECKS_OF_VALUES = _CHECKS[_ORDER_OF_VALUES]


def _converted(order: tuple[str, ...], given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call, each looked at. Raises what the original raises."""
    checks = _CHECKS[order]
    if not given:
        try:
            return {name: checks[name](value) for name, value in named.items()}
        except Exception:
            # Said below, of the first argument that is wrong.
            pass
    bound = text.bind(order, given, named)
    for name in order:
        if name in bound:
            bound[name] = checks[name](bound[name])
    text.refuse_unknown(order, bound)
    return bound


def _kind(one: object) -> type[PluginData]:
    """Returns the class of this module that an object belongs to."""
    if isinstance(one, Values):
        return Values
    return Notification if isinstance(one, Notification) else PluginData


_UNCHECKED = _DELETABLE = frozenset(("values", "meta"))
_set_host = PluginData.host.__set__  # type: ignore[attr-defined]
_set_plugin = PluginData.plugin.__set__  # type: ignore[attr-defined]
_set_plugin_instance = PluginData.plugin_instance.__set__  # type: ignore[attr-defined]
_set_type = PluginData.type.__set__  # type: ignore[attr-defined]
_set_type_instance = PluginData.type_instance.__set__  # type: ignore[attr-defined]
_set_time = PluginData.time.__set__  # type: ignore[attr-defined]
_set_interval = Values.interval.__set__  # type: ignore[attr-defined]
_set_values = Values.values.__set__  # type: ignore[attr-defined]
_set_meta_of_values = Values.meta.__set__  # type: ignore[attr-defined]
_set_severity = Notification.severity.__set__  # type: ignore[attr-defined]
_set_message = Notification.message.__set__  # type: ignore[attr-defined]
_set_meta_of_notification = Notification.meta.__set__  # type: ignore[attr-defined]
_SETTERS: dict[type[PluginData], dict[str, Callable[[Any, Any], None]]] = {
    cls: {name: getattr(cls, name).__set__ for name in names} for cls, names in _HAVE.items()
}
_SETTERS_OF_VALUES = _SETTERS[Values]
_GETTERS: dict[type[PluginData], dict[str, Callable[[Any], Any]]] = {
    cls: {name: getattr(cls, name).__get__ for name in names} for cls, names in _HAVE.items()
}


def _kept(one: Any) -> Any:
    """Returns what holds the attributes themselves: those of a plugin's own class may hide them."""
    cls = _kind(one)
    if type(one) is cls:
        return one
    _fill(one)
    plain = cls()
    for name, get in _GETTERS[cls].items():
        try:
            value = get(one)
        except AttributeError:
            # It is deleted.
            object.__delattr__(plain, name)
        else:
            _SETTERS[cls][name](plain, value)
    return plain


def _fill(one: Any) -> bool:
    """Gives the defaults to what was made without `__init__`; says whether it was."""
    cls = _kind(one)
    unset = []
    for name, get in _GETTERS[cls].items():
        try:
            get(one)
        except AttributeError:
            unset.append(name)
    if set(unset) <= _DELETABLE:
        return False
    like = cls()
    for name in unset:
        _SETTERS[cls][name](one, getattr(like, name))
    return True


def _reset(one: Any) -> None:
    """Gives all attributes their defaults."""
    if isinstance(one, Values):
        _reset_values(one)
        return
    _reset_texts(one)
    if isinstance(one, Notification):
        _set_severity(one, 0)
        _set_message(one, "")
        _set_meta_of_notification(one, {})


def _reset_texts(one: Any) -> None:
    _set_host(one, "")
    _set_plugin(one, "")
    _set_plugin_instance(one, "")
    _set_type(one, "")
    _set_type_instance(one, "")
    _set_time(one, 0.0)


def _reset_values(one: Any) -> None:
    # Not by `_reset_texts`: it is done for each value list.
    _set_host(one, "")
    _set_plugin(one, "")
    _set_plugin_instance(one, "")
    _set_type(one, "")
    _set_type_instance(one, "")
    _set_time(one, 0.0)
    _set_interval(one, 0.0)
    _set_values(one, [])
    _set_meta_of_values(one, {})


def _init(one: Any, order: tuple[str, ...], given: tuple[Any, ...], named: dict[str, Any]) -> None:
    bound = _converted(order, given, named) if given or named else named
    if "type" in bound:
        current.daemon().data_set(bound["type"])
    _reset(one)
    _set_all(one, bound)


def _set_all(one: Any, bound: dict[str, Any]) -> None:
    setters = _SETTERS[_kind(one)]
    for name, value in bound.items():
        setters[name](one, value)


# As `repr` shows them, and as pickles look for them.
for _one in (CollectdError, Signed, Unsigned, Config, PluginData, Values, Notification):
    _one.__module__ = "collectd"


def values_of(one: ValueList) -> Values:
    """Returns what a write callback gets."""
    values: Values = Values.__new__(Values)
    _set_type(values, one.type)
    _set_plugin_instance(values, one.plugin_instance)
    _set_type_instance(values, one.type_instance)
    _set_plugin(values, one.plugin)
    _set_host(values, one.host)
    _set_time(values, one.at)
    _set_interval(values, one.interval)
    _set_values(values, list(one.values))
    _set_meta_of_values(values, dict(one.meta))
    return values


def notification_of(
    parts: Mapping[str, Text], at: float, severity: int, message: Text, meta: Mapping[Text, Any]
) -> Notification:
    """Returns what a notification callback gets."""
    note: Notification = Notification.__new__(Notification)
    for name, value in parts.items():
        object.__setattr__(note, name, value)
    for name, number in (("time", at), ("severity", severity), ("message", message), ("meta", dict(meta))):
        object.__setattr__(note, name, number)
    return note
