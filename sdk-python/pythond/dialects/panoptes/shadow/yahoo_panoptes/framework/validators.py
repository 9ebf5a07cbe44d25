"""Questions about values, each answered with True or False."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NUMERIC_OID = re.compile(r"^\.\d+")


class PanoptesValidators:
    """Questions about values of any type."""

    @classmethod
    def valid_logger(cls, logger: Any) -> bool:
        return isinstance(logger, (logging.Logger, logging.LoggerAdapter))

    @classmethod
    def valid_callback(cls, callback: Any) -> bool:
        return callable(callback)

    @classmethod
    def valid_hashable_object(cls, object_to_check: Any) -> bool:
        return getattr(object_to_check, "__hash__", None) is not None

    @classmethod
    def valid_port(cls, port: Any) -> bool:
        return type(port) is int and 0 < port < 65536

    @classmethod
    def valid_number(cls, value: Any) -> bool:
        return isinstance(value, (int, float, complex)) and not isinstance(value, bool)

    @classmethod
    def valid_nonzero_integer(cls, value: Any) -> bool:
        """Says whether a value is an integer above 0."""
        return type(value) is int and value > 0

    @classmethod
    def valid_positive_integer(cls, value: Any) -> bool:
        """Says whether a value is an integer that is not below 0."""
        return type(value) is int and value >= 0

    @classmethod
    def valid_none_or_string(cls, value: Any) -> bool:
        """Says whether a value is None or a string with a character; an empty one is refused, as in the original."""
        return value is None or cls.valid_nonempty_string(value)

    @classmethod
    def valid_nonempty_string(cls, value: Any) -> bool:
        return isinstance(value, str) and value != ""

    @classmethod
    def valid_none_or_nonempty_string(cls, value: Any) -> bool:
        return value is None or cls.valid_nonempty_string(value)

    @classmethod
    def valid_readable_path(cls, path: Any) -> bool:
        return isinstance(path, str) and os.path.isdir(path) and os.access(path, os.R_OK)

    @classmethod
    def valid_readable_file(cls, filename: Any) -> bool:
        return isinstance(filename, str) and os.path.isfile(filename) and os.access(filename, os.R_OK)

    @classmethod
    def valid_nonempty_iterable_of_strings(cls, value: Any) -> bool:
        if isinstance(value, str) or not isinstance(value, Iterable):
            return False
        members = list(value)
        return bool(members) and all(cls.valid_nonempty_string(one) for one in members)

    @classmethod
    def valid_timestamp(cls, timestamp: Any, max_age: float = 604800, max_skew: float = 60) -> bool:
        """Says whether a value is a time in seconds, not older than `max_age` and not further ahead than `max_skew`."""
        if not all(type(one) in (int, float) for one in (timestamp, max_age, max_skew)):
            return False
        return bool(-max_skew <= time.time() - timestamp <= max_age)

    @classmethod
    def valid_numeric_snmp_oid(cls, oid: str) -> bool:
        return NUMERIC_OID.match(oid) is not None
