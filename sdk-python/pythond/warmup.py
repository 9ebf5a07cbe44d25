"""Walks a worker's way in the zygote before it forks, so that its children need not write to the memory they share.

Python writes to what it only reads: an interpreter from 3.11 on rewrites the byte code of a function that runs for the
first times, all keep caches of attributes that were looked up. What is written before the fork stays shared. What a
worker writes to in any case is put side by side, once it is known (`layout`).
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time

from pythond import layout, loader, worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn, Sequence

    from pythond.control import Channel
    from pythond.dialects import Dialect

# Byte code is rewritten after two to eight calls.
_TIMES = 10
_RUNS = 2
_TEXT = b'{"accepted":1,"no_value":0,"resets":0}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_TEXT), _TEXT)


def run(dialect: Dialect, channel: Channel, far: socket.socket, also: Sequence[int] = ()) -> list[Any]:
    """Loads the dialect's sample and runs it against an agent that is played here; leaves nothing behind.

    `also` are the `id`s of code that workers run besides. Returns what must live on.
    """
    kept: list[Any] = []
    if dialect.SAMPLE:
        environment = dict(os.environ)
        _rehearse(dialect, channel, far)
        codes = [*also, *_codes_of_a_worker(dialect, channel, far)]
        kept.append(layout.gather(codes))
        _rehearse(dialect, channel, far)
        _restore(environment)
    thread = threading.Thread(target=_nothing, daemon=True)
    thread.start()
    thread.join()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.getsignal(number))
    until = time.monotonic() + 1.0
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < until:
        time.sleep(0.001)  # Python is done with the thread a moment before the kernel is
    return kept


def _restore(environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    os.environ.update(environment)


def _nothing() -> None:
    """What the thread does."""


def _rehearse(dialect: Dialect, channel: Channel, far: socket.socket) -> None:
    for _ in range(_TIMES):
        _once(dialect, channel, far)


def _codes_of_a_worker(dialect: Dialect, channel: Channel, far: socket.socket) -> list[int]:
    """Returns the `id`s of all code that a worker runs from its fork on."""
    # In the order in which it comes: what is run together lies together.
    seen: dict[int, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        seen.setdefault(id(frame.f_code))

    sys.setprofile(note)
    try:
        seen.update(dict.fromkeys(_seen_in_a_child(seen)))
        _once(dialect, channel, far)
    finally:
        sys.setprofile(None)
    return list(seen)


def _seen_in_a_child(seen: dict[int, None]) -> list[int]:
    """Returns what a forked child adds to `seen` before it does anything: modules want to know of a fork."""
    out, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        sys.setprofile(None)
        os.write(tell, json.dumps(list(seen)).encode())
        os._exit(0)
    os.close(tell)
    with open(out, "rb") as file:
        told = file.read()
    os.waitpid(pid, 0)
    found: list[int] = json.loads(told or b"[]")
    return found


class _Rehearsal(worker.Worker):
    """A worker whose agent is played here: two reports are answered, then it stops."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._agent: socket.socket | None = None
        self._answers = self._reports = 0

    def settle(self) -> None:
        super().settle()
        if self._agent is None:
            return
        # One at a time: a connection on which something comes unasked is closed.
        if self._answers == self._reports:
            self._agent.sendall(_ANSWER)
            self._answers += 1
        if self._reports >= _RUNS:
            self._stopping.set()
        for one in self._jobs.all():
            one.asked = True

    def play(self, dialect: Dialect) -> None:
        """Does what a worker does from `hello` on."""
        self.greet()
        spec = self.receive()
        self.settle_in(spec)
        self.load(spec)
        (member,) = self._members
        sys.modules.pop(loader.module_name(member.unit), None)
        agent: Any = member.host._agent
        # Should a sample send more than is answered here, it fails at once instead of waiting for an agent.
        agent._wait = lambda pause: True
        once = agent._once

        def counted(head: bytes, body: bytes) -> Any:
            self._reports += 1
            return once(head, body)

        agent._once = counted
        connection = agent._connection()
        connection._socket, self._agent = socket.socketpair()
        with self._agent:
            self._jobs.serve()
            self._jobs.finish()
            connection.close()

    def close(self) -> None:
        """Leaves no circle: what is freed here is used by the next round, and no gap remains among what is shared."""
        signal.set_wakeup_fd(-1)
        os.close(self._signal_out)
        os.close(self._signal_in)
        self._jobs.forget()
        del self._jobs, self._members, self._spec

    def _fail(self, failure: loader.Failure, member: Any = None) -> NoReturn:
        raise failure


def _once(dialect: Dialect, channel: Channel, far: socket.socket) -> None:
    surroundings = list(sys.path), list(sys.path_hooks), list(sys.meta_path), list(sys.argv)
    hook = threading.excepthook
    far.send(json.dumps(_spec(dialect)).encode())
    rehearsal = _Rehearsal(channel)
    try:
        rehearsal.play(dialect)
    finally:
        rehearsal.close()
        dialect.forget()
        sys.path[:], sys.path_hooks[:], sys.meta_path[:], sys.argv[:] = surroundings
        threading.excepthook = hook
    while _waits(far):
        far.recv(65536)


def _waits(far: socket.socket) -> bool:
    return bool(select.select([far], [], [], 0)[0])


def _spec(dialect: Dialect) -> dict[str, Any]:
    sample = dialect.SAMPLE or ""
    return {
        "t": "spec",
        "v": 1,
        "mode": "worker",
        "id": "",
        "gen": 0,
        "dialect": dialect.__name__.rpartition(".")[2],  # type: ignore[attr-defined]
        "file": sample,
        "module": os.path.splitext(os.path.basename(sample))[0],
        "roots": [],
        "input": "",
        "socket": None,
        "host": "127.0.0.1",
        "port": 9529,
        "token": "",
        "config": {},
        "times": 1,
        # What changes nothing in the zygote itself.
        "limits": {"files": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "cwd": os.getcwd(), "environment": []},
    }
