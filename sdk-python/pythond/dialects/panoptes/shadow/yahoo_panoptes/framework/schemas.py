"""Checks enrichment against a schema: with Cerberus where it is installed, else with the rules below.

These are the rules that Panoptes' own schemas use, with Cerberus' meaning. A rule that is not known here is an error of
the schema: data that nobody checked must not look checked.
"""

from __future__ import annotations

import importlib
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class SchemaError(Exception):
    """A schema is not as it should be."""


def is_valid(schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Says whether a document is as its schema says. Raises `SchemaError`, or Cerberus' own."""
    try:
        cerberus: Any = importlib.import_module("cerberus")
    except ImportError:
        return _fits_schema(schema, document)
    return bool(cerberus.Validator(schema).validate(document))


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    # A bool is an integer and a float for Cerberus; only `number` refuses it.
    "integer": lambda value: isinstance(value, int),
    "float": lambda value: isinstance(value, (int, float)),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "dict": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, (list, tuple)),
    "set": lambda value: isinstance(value, (set, frozenset)),
    "binary": lambda value: isinstance(value, (bytes, bytearray)),
}


def _fits_schema(schema: Any, document: dict[str, Any], allow_unknown: bool = False) -> bool:
    if not isinstance(schema, dict) or not all(isinstance(rules, dict) for rules in schema.values()):
        raise SchemaError(f"a schema must be a dict of dicts, not {schema!r}")
    if not allow_unknown and any(key not in schema for key in document):
        return False
    if any(rules.get("required") and key not in document for key, rules in schema.items()):
        return False
    return all(_fits(rules, document[key]) for key, rules in schema.items() if key in document)


def _fits(rules: dict[str, Any], value: Any) -> bool:
    if value is None:
        return bool(rules.get("nullable"))
    return all(_follows(name, rule, value, rules) for name, rule in rules.items())


def _follows(name: str, rule: Any, value: Any, rules: dict[str, Any]) -> bool:
    if name in ("required", "nullable", "allow_unknown", "meta", "default"):
        return True
    check = _RULES.get(name)
    if check is None:
        raise SchemaError(f"the rule `{name}` needs the package `cerberus`")
    if name == "schema" and isinstance(value, dict):
        return _fits_schema(rule, value, bool(rules.get("allow_unknown")))
    return check(rule, value)


def _is_of_type(rule: Any, value: Any) -> bool:
    names = [rule] if isinstance(rule, str) else list(rule)
    unknown = [name for name in names if name not in _TYPES]
    if unknown:
        raise SchemaError(f"the type `{unknown[0]}` needs the package `cerberus`")
    return any(_TYPES[name](value) for name in names)


def _members_fit(rule: Any, value: Any) -> bool:
    return not isinstance(value, (list, tuple)) or all(_fits(rule, member) for member in value)


def _keys_fit(rule: Any, value: Any) -> bool:
    return not isinstance(value, dict) or all(_fits(rule, key) for key in value)


def _values_fit(rule: Any, value: Any) -> bool:
    return not isinstance(value, dict) or all(_fits(rule, one) for one in value.values())


def _members(value: Any) -> Any:
    return value if isinstance(value, (list, tuple, set, frozenset, dict)) else [value]


def _is_below(value: Any, other: Any) -> bool:
    """Says whether a value is surely less: what cannot be compared is not, and a bound does not refuse it."""
    try:
        return bool(value < other)
    except TypeError:
        return False


def _size(value: Any, default: int) -> int:
    return len(value) if hasattr(value, "__len__") else default


def _fitting(rule: Any, value: Any) -> int:
    """Returns how many of several sets of rules a value follows."""
    return sum(_fits(rules, value) for rules in rule)


_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "type": _is_of_type,
    "schema": _members_fit,
    "keysrules": _keys_fit,
    "keyschema": _keys_fit,
    "valuesrules": _values_fit,
    "valueschema": _values_fit,
    "allowed": lambda rule, value: all(member in rule for member in _members(value)),
    "forbidden": lambda rule, value: isinstance(value, dict) or all(member not in rule for member in _members(value)),
    "empty": lambda rule, value: bool(rule) or _size(value, 1) > 0,
    "min": lambda rule, value: not _is_below(value, rule),
    "max": lambda rule, value: not _is_below(rule, value),
    "minlength": lambda rule, value: _size(value, rule) >= rule,
    "maxlength": lambda rule, value: _size(value, rule) <= rule,
    "anyof": lambda rule, value: _fitting(rule, value) > 0,
    "allof": lambda rule, value: _fitting(rule, value) == len(rule),
    "oneof": lambda rule, value: _fitting(rule, value) == 1,
    "noneof": lambda rule, value: _fitting(rule, value) == 0,
    "regex": lambda rule, value: not isinstance(value, str) or re.match(f"(?:{rule})$", value) is not None,
}
