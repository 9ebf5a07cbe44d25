"""Values that name where a secret is: `${env:NAME}` and `${file:path}`, only where the whole value is one."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_SECRET = re.compile(r"\$\{(env|file):([^{}]+)\}\Z")


class Missing(Exception):
    """A secret that is not where a value says."""


def filled(value: Any, folder: str, read: Callable[[str], bytes]) -> Any:
    """Returns a value with its secrets, those of files relative to a folder. Raises `Missing`."""
    if isinstance(value, str):
        found = _SECRET.match(value)
        return _secret(found.group(1), found.group(2), folder, read) if found else value
    if isinstance(value, list):
        return [filled(one, folder, read) for one in value]
    if isinstance(value, dict):
        return type(value)((key, filled(one, folder, read)) for key, one in value.items())
    return value


def _secret(kind: str, name: str, folder: str, read: Callable[[str], bytes]) -> str:
    if kind == "env":
        try:
            return os.environ[name]
        except KeyError:
            raise Missing(f"the environment of this input has no `{name}`; set it with `envs`") from None
    path = os.path.join(folder, name)
    try:
        return read(path).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Missing(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
