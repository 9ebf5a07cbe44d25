"""A worker process under test, and a far end that answers byte for byte as it is told."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

# The interpreter of the workers.
PYTHON = sys.executable
CORE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Generous: a machine may be busy. No test waits this long when the code is right.
LIMIT = 60.0


# A dialect whose units are Python files that say themselves what `list`, `load` and `close` do.
PROBE = """
from pythond import loader
PATH_FIRST, PATH_LAST, SAMPLE = (), (), None
modules = {}
def list(given, host):
    return loader.load(given).list(given, host)
def load(unit, host):
    modules[host] = loader.load(unit)
    modules[host].load(unit, host)
def close(host):
    getattr(modules[host], "close", lambda host: None)(host)
def forget():
    pass
"""


def core_of_tests(folder):
    """Writes the package with the dialects that tests need to a folder; returns that."""
    own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dialects")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(os.path.join(CORE, "pythond"), os.path.join(folder, "pythond"), ignore=ignore)
    dialects = os.path.join(folder, "pythond", "dialects")
    for name in os.listdir(own):
        if name != "__pycache__":
            shutil.copytree(os.path.join(own, name), os.path.join(dialects, name), ignore=ignore)
    os.mkdir(os.path.join(dialects, "probe"))
    with open(os.path.join(dialects, "probe", "__init__.py"), "w") as file:
        file.write(PROBE)
    return str(folder)


class Worker:
    """A worker process and the agent's end of its sockets."""

    def __init__(
        self, script, mode="worker", agent=None, spec=None, env=None, control=socket.SOCK_SEQPACKET, core=None
    ):
        """With `control=socket.SOCK_STREAM` frames are lines, as on systems without SEQPACKET; `core` is where the
        package lies."""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, control)
        self._lines = self.control.makefile("rb") if control == socket.SOCK_STREAM else None
        self._ran = []
        self._trace, trace = os.pipe()
        self.process = subprocess.Popen(
            [PYTHON, os.path.join(core or CORE, "pythond")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(theirs.fileno(), trace),
            env={
                **os.environ,
                "PYTHOND_CONTROL_FD": str(theirs.fileno()),
                "PYTHOND_TRACE_FD": str(trace),
                "PYTHONUNBUFFERED": "1",
                **(env or {}),
            },
        )
        theirs.close()
        os.close(trace)
        script = str(script)
        host, port = agent.address if agent else ("127.0.0.1", 1)
        self.send(
            **{
                "t": "spec",
                "v": 1,
                "mode": mode,
                "id": "some.script",
                "gen": 1,
                "dialect": "datakit",
                "file": script,
                "module": os.path.splitext(os.path.basename(script))[0],
                "roots": [os.path.dirname(script)],
                "input": "some-input",
                "socket": None,
                "host": host,
                "port": port,
                "token": "the-token",
                "config": {},
                "times": 1,
                **(spec or {}),
            },
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        # The group: a script may have left children, which hold the pipes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        if self._lines:
            self._lines.close()
        self.control.close()
        os.close(self._trace)

    def send(self, **frame):
        with contextlib.suppress(BrokenPipeError):  # gone already: its frames are there to be read
            self.control.sendall(json.dumps(frame).encode() + (b"\n" if self._lines else b""))

    def frame(self):
        """Returns the next frame; None at the end. Of runs that are told together each is an `end` of its own."""
        if self._ran:
            return self._ran.pop(0)
        frame = self._received()
        if frame is None or frame["t"] != "ran":
            return frame
        names = ("i", "k", "ms", "points", "refused", "no_value", "next_ms")
        self._ran = [{"t": "end", "ok": True, **dict(zip(names, run))} for run in frame["runs"]]
        return self.frame()

    def _received(self):
        self.control.settimeout(LIMIT)
        try:
            data = self._lines.readline() if self._lines else self.control.recv(65536)
        except ConnectionResetError:
            return None
        return json.loads(data) if data else None

    def until(self, kind):
        """Returns the next frame of a kind."""
        while True:
            frame = self.frame()
            assert frame is not None, f"no `{kind}` frame came; stderr: {self.output()[1]}"
            if frame["t"] == kind:
                return frame

    def rest(self):
        """Returns all frames up to the end."""
        return list(iter(self.frame, None))

    def trace_until(self, text):
        """Reads the trace pipe until a text has come."""
        data = b""
        until = time.monotonic() + LIMIT
        while text not in data:
            assert select.select([self._trace], [], [], until - time.monotonic())[0], data
            chunk = os.read(self._trace, 65536)
            assert chunk, data
            data += chunk
        return data.decode()

    def output(self):
        """Waits for the end; returns stdout and stderr."""
        out, err = self.process.communicate(timeout=LIMIT)
        return out.decode(), err.decode()

    def status(self):
        return self.process.wait(LIMIT)


def frames_of(script, mode="check", **more):
    """Returns all frames of a worker that ends by itself, and its exit status."""
    with Worker(script, mode, **more) as worker:
        frames = worker.rest()
        return frames, worker.status()


def one(frames, kind):
    found = [frame for frame in frames if frame["t"] == kind]
    assert len(found) == 1, frames
    return found[0]


def jobs_of(frames):
    """Returns all jobs that were told and have not gone again."""
    jobs = {}
    for frame in frames:
        if frame["t"] == "jobs":
            jobs.update({job["i"]: job for job in frame["set"]})
            for number in frame["gone"]:
                del jobs[number]
    return list(jobs.values())


class FarEnd:
    """A TCP server: each connection gets the next list of answers, bytes sent one after each request, then an end."""

    def __init__(self, *connections):
        self.requests = []
        self._connections = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._release = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._release.set()
        self._listener.close()
        self._thread.join(LIMIT)

    def _serve(self):
        for answers in self._connections:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                for answer in answers:
                    self.requests.append(read_request(peer))
                    if answer is None:  # silence, until the test is over
                        self._release.wait(LIMIT)
                    else:
                        peer.sendall(answer)


def read_request(peer):
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = peer.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    size = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    while len(body) < size:
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(status=200, body=b"", *headers):
    lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
