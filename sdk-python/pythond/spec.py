"""What the agent wants of this process: the `spec` frame with the units behind it, read and checked."""

from __future__ import annotations

import os

from pythond import client, control, dialects, guard, sources
from pythond.host import DEFAULT_INTERVAL, UnitHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from pythond.control import Channel, Frame
    from pythond.jobs import Jobs

MODES = ("worker", "once", "check", "list")


class Spec:
    """A spec as plain values."""

    __slots__ = (
        "address",
        "agent_address",
        "config",
        "dialect",
        "files",
        "hostname",
        "id",
        "input",
        "interval",
        "is_shared",
        "isolation",
        "mode",
        "only",
        "phase",
        "roots",
        "settings",
        "state_dir",
        "times",
        "units",
        "url",
    )

    def __init__(self, frame: Frame, several: list[Frame], other_user: bool = False) -> None:
        """`several` are the units that came behind it, where this process has several; `other_user`: it has become
        one, to whom the agent's socket may be closed.

        Raises `ValueError` for a spec that is not as it should be.
        """
        if frame.get("t") != "spec" or frame.get("v") != 1:
            raise ValueError("the first frame must be a `spec` of version 1")
        self.id = control.text_of(frame, "id", "")
        self.mode = control.text_of(frame, "mode", "worker")
        if self.mode not in MODES:
            raise ValueError(f"`mode` is `{self.mode}`; it must be one of {', '.join(MODES)}")
        # 0: as often as each job needs.
        self.times = frame.get("times") or 0
        if not isinstance(self.times, int):
            raise ValueError("`times` must be a whole number")
        # Keys of the jobs that are run by hand; empty: all.
        self.only = list(frame.get("only") or [])
        self.phase = control.number_of(frame, "phase", 0.0)
        self.dialect = dialects.get(control.text_of(frame, "dialect", "datakit"))
        self.input = control.text_of(frame, "input", "")
        self.settings = control.table_of(frame, "settings")
        self.config = control.table_of(frame, "config")
        self.state_dir = control.text_of(frame, "state_dir", "")
        self.hostname = control.text_of(frame, "hostname", "") or _own_name()
        self.interval = control.number_of(frame, "interval", DEFAULT_INTERVAL)
        self.isolation = control.text_of(frame, "isolation", "")
        host, port = control.text_of(frame, "host", "127.0.0.1"), int(control.number_of(frame, "port", 9529) or 9529)
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.agent_address = (host, port)
        socket = control.text_of(frame, "socket", "") if frame.get("socket") else ""
        is_closed = not socket or (other_user and not os.access(socket, os.W_OK))
        self.address: client.Address = self.agent_address if is_closed else socket
        self.roots = list(frame.get("roots") or [])
        kept = control.text_of(frame, "kept", "") if frame.get("kept") else ""
        file = control.text_of(frame, "file", "")
        self.files = sources.Sources(guard.user_files(file, self.roots), kept or None)
        # By several units; one of them that cannot be loaded leaves the others alone.
        self.is_shared = bool(several)
        self.units = [(self._unit(one), control.text_of(one, "token", ""), bool(one.get("must"))) for one in several]
        if not several:
            self.units.append((self._unit(frame), control.text_of(frame, "token", ""), False))

    def _unit(self, frame: Frame) -> dialects.Unit:
        return dialects.Unit(
            id=control.text_of(frame, "id", "") or self.id,
            file=control.text_of(frame, "file", ""),
            module=control.text_of(frame, "module", ""),
            roots=self.roots,
            parts=frame.get("parts"),
            input=self.input,
            files=self.files,
        )


class Member:
    """One unit of this process, with the host that is lent to it and the token that tells the agent who reports."""

    __slots__ = ("host", "must_load", "number", "unit")

    def __init__(self, number: int, unit: dialects.Unit, host: UnitHost, must_load: bool) -> None:
        self.number = number
        self.unit = unit
        self.host = host
        # Without it the others are not to run either.
        self.must_load = must_load


def members(spec: Spec, channel: Channel, jobs: Jobs, wait: Callable[[float], bool]) -> list[Member]:
    """Makes the members of this process; `wait` is how they wait before a report is tried again."""
    made = []
    jobs.agent = client.Agent(spec.address, spec.units[0][1], wait)
    for number, (unit, token, must_load) in enumerate(spec.units):
        host = UnitHost(
            unit,
            client.Agent(spec.address, token, wait),
            channel,
            jobs,
            number,
            settings=spec.settings,
            config=spec.config,
            state_dir=spec.state_dir,
            hostname=spec.hostname,
            interval=spec.interval,
            isolation=spec.isolation,
            mode=spec.mode,
            agent_address=spec.agent_address,
        )
        made.append(Member(number, unit, host, must_load))
    return made


def _own_name() -> str:
    import socket

    return socket.gethostname()
