"""The keys of `[[inputs.netdata]]` that are this dialect's own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

_RECHECK = 60.0


class Settings:
    """What an input says, with the defaults of what it does not."""

    __slots__ = (
        "conf",
        "debug",
        "dirs",
        "fractions",
        "given",
        "install",
        "modules",
        "protocol",
        "recheck",
        "update_every",
        "values",
    )

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.dirs: list[str] = list(given.get("dirs") or [])
        self.conf: list[str] = list(given.get("conf") or [])
        self.install: str = given.get("install") or ""
        # None: all that are enabled.
        self.modules: list[str] | None = list(given["modules"]) if given.get("modules") else None
        self.update_every: float = given.get("update_every") or 1
        self.values: str = given.get("values") or "shown"
        self.recheck: float = given.get("recheck") or _RECHECK
        # Of `pythond run`: print netdata's protocol, show what modules say for debugging, a job from the command line.
        self.protocol = bool(given.get("protocol"))
        self.debug = bool(given.get("debug"))
        self.given: Mapping[str, Any] | None = given.get("set") or None
        # The original's numbers are whole ones.
        self.fractions = bool(given.get("fractions", True)) and not self.protocol
