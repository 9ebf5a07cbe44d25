"""Sends pings with the system's `ping`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

from ..exceptions import PanoptesBaseException
from ..validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROGRAM = "/bin/ping"
_COUNTS = re.compile(
    r"(?P<sent>\d+) packets transmitted, (?P<received>\d+) (?:packets )?received,.*?"
    r"(?P<loss>\d+(?:\.\d+)?)% packet loss(?:, time (?P<time>\d+)\s*ms)?"
)
_TIMES = re.compile(r"= (?P<min>[\d.]+)/(?P<avg>[\d.]+)/(?P<max>[\d.]+)/(?P<deviation>[\d.]+) ms")


class PanoptesPingException(PanoptesBaseException):
    """There was no answer, or the program failed; the text is what it said."""


class PanoptesPingTimeoutException(PanoptesPingException):
    """The program did not end in time."""


class PanoptesPing:
    """Pings a host when it is made; the properties say how that went, None where the program did not say it."""

    def __init__(self, count: int = 10, timeout: int = 10, hostname: str = "localhost") -> None:
        """`timeout` is that of all pings, in seconds. Raises `PanoptesPingException`."""
        assert PanoptesValidators.valid_nonzero_integer(count), "count must be integer > 0"
        assert PanoptesValidators.valid_nonzero_integer(timeout), "timeout must be integer > 0"
        assert PanoptesValidators.valid_nonempty_string(hostname), "hostname must be nonempty string"
        self._stats: dict[str, Any] = dict.fromkeys(
            (
                "packets_transmitted",
                "packets_received",
                "packet_loss_pct",
                "execution_time",
                "round_trip_min",
                "round_trip_avg",
                "round_trip_max",
                "round_trip_stddev",
            )
        )
        self._get_ping_stats(_ping(count, timeout, hostname))

    def _get_ping_stats(self, resp: str) -> None:
        counts, times = _COUNTS.search(resp), _TIMES.search(resp)
        if counts is not None:
            self._stats["packets_transmitted"] = int(counts["sent"])
            self._stats["packets_received"] = int(counts["received"])
            self._stats["packet_loss_pct"] = float(counts["loss"])
            if counts["time"] is not None:
                self._stats["execution_time"] = round(int(counts["time"]) / 1000, 2)
        if times is not None:
            self._stats["round_trip_min"] = float(times["min"])
            self._stats["round_trip_avg"] = float(times["avg"])
            self._stats["round_trip_max"] = float(times["max"])
            self._stats["round_trip_stddev"] = float(times["deviation"])

    @property
    def packets_transmitted(self) -> int | None:
        return self._whole("packets_transmitted")

    @property
    def packets_received(self) -> int | None:
        return self._whole("packets_received")

    @property
    def packet_loss_pct(self) -> float | None:
        return self._number("packet_loss_pct")

    @property
    def execution_time(self) -> float | None:
        """Seconds, as the program says it."""
        return self._number("execution_time")

    @property
    def round_trip_min(self) -> float | None:
        """Milliseconds, as the next three."""
        return self._number("round_trip_min")

    @property
    def round_trip_avg(self) -> float | None:
        return self._number("round_trip_avg")

    @property
    def round_trip_max(self) -> float | None:
        return self._number("round_trip_max")

    @property
    def round_trip_stddev(self) -> float | None:
        return self._number("round_trip_stddev")

    @property
    def response(self) -> str:
        """All of it as JSON."""
        return json.dumps(self._stats)

    def _whole(self, name: str) -> int | None:
        found: int | None = self._stats[name]
        return found

    def _number(self, name: str) -> float | None:
        found: float | None = self._stats[name]
        return found


def _ping(count: int, timeout: int, hostname: str) -> str:
    """Runs the program and returns what it wrote. Raises `PanoptesPingException`."""
    program = _PROGRAM if os.path.exists(_PROGRAM) else shutil.which("ping")
    if program is None:
        raise PanoptesPingException("there is no program `ping`")
    command = [program, "-c", str(count), "-w", str(timeout), hostname]
    try:
        # More than the program's own limit: it ends by itself, unless it waits for a name server.
        return subprocess.check_output(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, universal_newlines=True, timeout=timeout + 10
        )
    except subprocess.CalledProcessError as error:
        raise PanoptesPingException(error.output) from error
    except subprocess.TimeoutExpired as error:
        raise PanoptesPingTimeoutException(f"{' '.join(command)}: no end after {timeout + 10} s") from error
    except OSError as error:
        raise PanoptesPingException(f"{program}: {error.strerror}") from error
