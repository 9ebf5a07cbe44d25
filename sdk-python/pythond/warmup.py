"""Walks a worker's way once in the zygote, so that its children need not write to the memory that they share.

Python writes to what it only reads: an interpreter from 3.11 on rewrites the byte code of a function that runs for the
first times, all keep caches of attributes that were looked up. What is written before the fork stays shared; a worker
takes a fifth less memory of its own for it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time

from pythond import guard, limits, loader, schedule, worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from pythond.control import Channel
    from pythond.dialects import Dialect

# Byte code is rewritten after two to eight calls.
_TIMES = 10


def run(dialect: Dialect, channel: Channel, far: socket.socket) -> None:
    """Loads the dialect's sample script and runs it against an agent that is played here; leaves nothing behind."""
    path = list(sys.path)
    for _ in range(_TIMES):
        _once(dialect, channel, far)
    sys.path[:] = path
    thread = threading.Thread(target=_nothing, daemon=True)
    thread.start()
    thread.join()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.getsignal(number))
    until = time.monotonic() + 1.0
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < until:
        time.sleep(0.001)  # Python is done with the thread a moment before the kernel is


def _nothing() -> None:
    """What the thread does."""


def _once(dialect: Dialect, channel: Channel, far: socket.socket) -> None:
    channel.send("hello", v=1, pid=os.getpid(), py="3", exe=sys.executable, sdk="")
    far.send(json.dumps(_spec(dialect.SAMPLE)).encode())
    spec = channel.receive()
    own = limits.Limits(spec["limits"])
    limits.apply(own, [dialect.SAMPLE])
    prepared = worker.Prepared(spec, [], own, channel, _no_wait)
    script = prepared.scripts[0]
    loader.arrange_path(prepared.dialect.SHADOW, script.source.roots)
    jobs = prepared.dialect.load(script.source, script.emit)
    sys.modules.pop(loader.module_name(script.source), None)
    prepared.files.take_new()
    serving = [worker.Serving(index, job, script, index) for index, job in enumerate(jobs)]
    channel.send("ready", jobs=[worker._described(one) for one in serving])
    for one in serving:
        for _ in range(2):
            _run(one, channel)
    dialect.forget()
    while _waits(far):
        far.recv(65536)


def _run(one: worker.Serving, channel: Channel) -> None:
    import socket

    channel.send("run", i=one.index, k=1)
    emit = one.script.emit
    emit.begin(one.number, one.job.every)
    ours, agent = socket.socketpair()
    with ours, agent:
        connection = emit._agent._connection()  # type: ignore[attr-defined]
        connection._socket = ours
        agent.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        took, failure = guard.run(one.job.run, one.script.source.is_user)
        connection.close()
    now = time.monotonic()
    due = schedule.next_due(now - 1.5, one.job.every, now)
    counts = emit.take(one.number)
    channel.send(
        "end", i=one.index, k=1, ms=round(took, 3), ok=failure is None, **counts, next_ms=int((due - now) * 1000)
    )
    one.wake.wait(0.0)


def _waits(far: socket.socket) -> bool:
    import select

    return bool(select.select([far], [], [], 0)[0])


def _no_wait(seconds: float) -> bool:
    return True


def _spec(sample: str) -> dict[str, Any]:
    return {
        "t": "spec",
        "v": 1,
        "mode": "worker",
        "id": "",
        "gen": 0,
        "dialect": "datakit",
        "script": sample,
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
