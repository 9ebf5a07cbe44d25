"""The zygote: one process that has Python and its modules loaded, and forks a worker whenever the agent asks for one.

    boot    SDK imported → the scripts' imports found (never by running one) → preloaded → frozen → `ready`
    fork    request + descriptors → zygote forks a middle process → that forks the worker and ends → the agent, a child
            subreaper, is the worker's real parent: it gets the exit status, and the zygote may be replaced at any time

A worker must not be able to tell how it was started. What a fork would share and an exec would not is put right in
`_become_worker`, in the order that stands there. What only an exec can give (`LD_…`, `PYTHON…`) is the zygote's own
environment: there is one zygote for each such environment, and nothing else of a script's `envs` ever enters it.

What is loaded before the fork is shared, and frozen so that the collector of cyclic garbage does not touch its pages.
Only the standard library and well-known packages are loaded ahead, never a user's module; a package is tried in a
throw-away child before, for it may print, hang, start threads or end the process. With a second thread there is no
zygote: a lock that the thread holds at the fork would stay locked in the worker for ever.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` makes enum members of
import errno
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time

from pythond import control, dialects, loader, logs, preload, sources, warmup, worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Sequence

    Message = Dict[str, Any]

VERSION = 1
MAX_REQUEST = 64 * 1024
# control, stdout, stderr, trace; and the lock of the script where there is one
DESCRIPTORS = (4, 5)
_FD_BYTES = 4
# As plain numbers: arithmetic with the members of an enum runs code whose memory every worker would copy.
_CUT = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)
_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
# More than a request may carry, so that what comes too many is seen and closed.
_MOST_FDS = 16
_FIRST_OWN_FD = 100
_ADOPTION = 1.0
_TRIAL_SECONDS = 2.0
_BOOT_SECONDS = 3.0
# The exit status of a middle process that found the agent's end closed.
_OVER = 3
_COOKIE = b"PYTHOND_WORKER="
_PR_SET_PDEATHSIG = 1
_COMPILED = "compiled "
# For a terminal's user and for workers; not for the zygote, whose children get back what they would have had.
_HELD = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Refusal(Exception):
    """Why there can be no zygote here."""


# Kept in the workers too: to free what was made before the fork, they would have to write to it.
_kept: list[Any] = []


def main() -> worker.Worker:
    """Serves the agent; returns only in a forked worker, which is to serve then."""
    gc.disable()
    channel = socket.socket(fileno=int(os.environ.pop("PYTHOND_CONTROL_FD")))
    trace_fd = os.environ.pop("PYTHOND_TRACE_FD", "")
    if trace_fd.isdigit():
        os.close(int(trace_fd))
    os.environ.pop("PYTHOND_ZYGOTE", None)
    try:
        zygote = Zygote(channel)
        _kept.append(zygote)
        zygote.boot()
    except Refusal as refusal:
        channel.send(_bytes({"t": "refused", "why": str(refusal)}))
        os._exit(0)
    return zygote.serve()


class Zygote:
    """The state of this process."""

    def __init__(self, channel: socket.socket) -> None:
        """Raises `Refusal` where the system lacks what a worker needs."""
        self._channel = channel
        self._agent = os.getppid()
        self._prctl = _find_prctl()
        self._cookie_at = _find_cookie()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        self._packages: list[str] = []
        # What each worker needs is made once, on the numbers that it has in every worker.
        placeholder, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control_fd = worker.move_away(placeholder.detach())
        self._trace_fd = worker.move_away(os.open(os.devnull, os.O_WRONLY))
        worker.watch_for_crashes(self._trace_fd)
        self._frames = control.Channel(self._control_fd)
        self._worker = worker.Worker(self._frames)

    # --- boot ---

    def boot(self) -> None:
        """Loads what the workers will need, and says `ready`. Raises `Refusal`."""
        _name_process("pythond-zygote")
        scripts, roots, boot = self._read_boot()
        self._agent = boot["agent"]
        if self._control_fd < _FIRST_OWN_FD:
            raise Refusal(f"fewer than {_FIRST_OWN_FD} files may be open here")
        dialect = dialects.get(boot.get("dialect", "datakit"))
        loader.arrange_path(dialect.PATH_FIRST, [], dialect.PATH_LAST)
        deadline = time.monotonic() + _BOOT_SECONDS
        wanted, compiled = self._scan(scripts, roots, dialect.PATH_LAST)
        before = set(sys.modules)
        shadows = preload.shadows(dialect.PATH_FIRST)
        for name in [*shadows, *sorted(preload.STANDARD.intersection(wanted))]:
            preload.load(name)
        good, dropped = self._try(sorted(name for name in wanted if preload.top(name) in preload.PACKAGES), deadline)
        of_dialect = {name for name in wanted if preload.top(name) not in preload.PACKAGES} - preload.STANDARD
        for name in [*good, *sorted(of_dialect)]:
            preload.load(name)
        self._packages = sorted(
            {top for top in map(preload.top, set(sys.modules) - before) if not loader.is_standard(top)}
            - {"pythond", *shadows}
        )
        if "tempfile" in sys.modules:
            # What it would share among the workers, should it have been used here.
            tempfile: Any = sys.modules["tempfile"]
            tempfile._name_sequence = tempfile.tempdir = None
        for text in compiled:
            sources.unpack(text)
        logs.replace_streams()
        _kept.append(warmup.run(dialect, self._frames, self._far, _own_codes()))
        self._far.close()
        if preload.threads() != 1:
            raise Refusal(
                f"it has {preload.threads()} threads once its modules are loaded, and a fork would keep only one"
            )
        preload.flush()
        gc.collect()
        gc.freeze()
        version = ".".join(str(part) for part in sys.version_info[:3])
        self._answer({
            "t": "ready", "v": VERSION, "exe": sys.executable, "py": version, "packages": good, "dropped": dropped
        })  # fmt: skip

    def _read_boot(self) -> tuple[list[str], list[str], Message]:
        scripts: list[str] = []
        roots: list[str] = []
        while True:
            data = self._channel.recv(MAX_REQUEST)
            if not data:
                os._exit(0)
            message = json.loads(data.decode("utf-8"))
            if message["t"] == "boot":
                return scripts, roots, message
            scripts += message["scripts"]
            roots += message["roots"]

    def _scan(self, scripts: list[str], roots: list[str], ours: Sequence[str]) -> tuple[list[str], list[str]]:
        """Has a child parse the scripts; returns the modules that they import, and what of them it has compiled."""

        def act(tell: Callable[..., None]) -> None:
            names = preload.scan(scripts, roots, lambda text: tell(_COMPILED + text), ours)
            tell(*names)

        told, end = self._in_child(act, preload.SCAN_SECONDS)
        if end:
            del told[-1:]  # cut off
        names = [line for line in told if not line.startswith(_COMPILED)]
        return names, [line[len(_COMPILED) :] for line in told if line.startswith(_COMPILED)]

    def _try(self, names: list[str], deadline: float) -> tuple[list[str], list[tuple[str, str]]]:
        """Imports packages in a throw-away child; returns those that behave, and why each other one was dropped."""
        good: list[str] = []
        dropped: list[tuple[str, str]] = []
        left = list(names)
        while left:
            seconds = min(_TRIAL_SECONDS, deadline - time.monotonic())
            if seconds <= 0:
                return good, dropped + [(name, "there was no time left to try it") for name in left]
            known, rest = list(good), list(left)
            told, end = self._in_child(lambda tell, known=known, rest=rest: preload.trial(known, rest, tell), seconds)  # type: ignore[misc]
            for line in told:
                kind, name, why = line.split("\t", 2)
                left.remove(name)
                if kind == "good":
                    good.append(name)
                elif kind == "bad":
                    dropped.append((name, why))
            if left and end:
                dropped.append((left.pop(0), end))
        return good, dropped

    def _in_child(self, act: Callable[[Callable[..., None]], None], seconds: float) -> tuple[list[str], str]:
        """Does something in a child that is thrown away; returns what it told, and how else than well it ended."""
        out, tell_fd = os.pipe()
        preload.flush()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                os.close(out)
                self._channel.close()
                act(
                    lambda *lines: _write_all(
                        tell_fd, "".join(line + "\n" for line in lines).encode("utf-8", "replace")
                    )
                )
                os.write(tell_fd, b"\0")
            except BaseException as error:
                _write_all(2, f"{type(error).__name__}: {error}\n".encode("utf-8", "replace"))
            finally:
                os._exit(0)
        os.close(tell_fd)
        data, timely = _read_until(out, time.monotonic() + seconds)
        os.close(out)
        os.kill(pid, signal.SIGKILL)
        # What it may have started goes with it; its number is its own until it is waited for.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError:
            # Nothing of it is left, or it never came to be a group.
            pass
        os.waitpid(pid, 0)
        text = data.decode("utf-8", "replace")
        end = (
            ""
            if text.endswith("\0")
            else ("it ends the process" if timely else f"it takes longer than {seconds:.0f} s")
        )
        return text.rstrip("\0").splitlines(), end

    # --- serve ---

    def serve(self) -> worker.Worker:
        """Forks on request until the agent closes its end; returns only in a worker.

        What this process writes to after a fork, each worker that was forked before keeps a copy of. So it does next to
        nothing: the middle process reads the request, the worker answers it.
        """
        poll = select.poll()
        _kept.append(poll)
        poll.register(self._channel, select.POLLIN)
        while True:
            poll.poll()
            try:
                middle = os.fork()
            except OSError as error:
                self._refuse(error)
                continue
            if middle == 0:
                return self._between()
            if os.waitpid(middle, 0)[1] == _OVER << 8:
                os._exit(0)

    def _refuse(self, error: OSError) -> None:
        """Answers a request for which there is no process."""
        data, fds, _ = _receive(self._channel)
        _close(fds)
        self._answer_failure(_id_of(data), error)

    def _between(self) -> worker.Worker:
        """Takes the request and forks the worker, in which alone it returns; the end of this process frees it."""
        try:
            data, fds, whole = _receive(self._channel)
            if not data:
                os._exit(_OVER)
            request = _checked(data, fds, whole)
        except ValueError as error:
            self._answer({"t": "failed", "id": _id_of(data), "errno": errno.EINVAL, "why": str(error)})
            os._exit(0)
        except OSError:
            os._exit(_OVER)
        try:
            if os.fork():
                os._exit(0)
        except OSError as error:
            self._answer_failure(request["id"], error)
            os._exit(0)
        return self._become_worker(request, fds)

    def _answer_failure(self, number: int, error: OSError) -> None:
        self._answer({"t": "failed", "id": number, "errno": error.errno or errno.EIO, "why": str(error)})

    def _answer(self, message: Message) -> None:
        try:
            self._channel.send(_bytes(message))
        except OSError:
            os._exit(_OVER)  # the agent is gone

    # --- the worker's first moments ---

    def _become_worker(self, request: Message, fds: list[int]) -> worker.Worker:
        """Turns the forked child into what an exec would have made."""
        try:
            os.setsid()
            # The number by which the agent finds what this worker leaves behind, where `/proc` shows it.
            _write_memory(self._cookie_at, request["token"].encode("ascii"))
            control_fd, out, err, trace_fd, *lock = fds
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.dup2(control_fd, self._control_fd, inheritable=False)
            os.dup2(trace_fd, self._trace_fd, inheritable=False)
            _signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            self._await_agent()
            for name, value in request["env"]:
                os.environb[name.encode()] = value.encode()
            os.environb[_COOKIE[:-1]] = request["token"].encode("ascii")
            for fd in lock:
                worker.keep_lock(fd)
            self._renew(request)
            self._worker.own()
            gc.enable()
            self._answer({"t": "forked", "id": request["id"], "pid": os.getpid()})
            self._channel.detach()
            os.closerange(3, _FIRST_OWN_FD)
            return self._worker
        except BaseException as error:
            why = f"the forked worker could not be prepared: {type(error).__name__}: {error}"
            self._answer(
                {"t": "failed", "id": request["id"], "errno": getattr(error, "errno", 0) or errno.EIO, "why": why}
            )
            os._exit(_OVER)

    def _await_agent(self) -> None:
        """Waits until the agent is the parent, then dies with it. Order: the signal first, then a last look."""
        until = time.monotonic() + _ADOPTION
        while os.getppid() != self._agent:
            if time.monotonic() > until:
                raise OSError(errno.ESRCH, "the agent did not become the parent")
            time.sleep(0.0002)
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._agent:
            os._exit(_OVER)

    def _renew(self, request: Message) -> None:
        """Puts right what modules keep that were loaded before the fork."""
        for name, _ in request["env"]:
            if name == "TZ":
                time.tzset()
        logging = sys.modules.get("logging")
        if logging is not None:
            now = time.time_ns() if isinstance(getattr(logging, "_startTime", 0.0), int) else time.time()
            logging._startTime = now  # type: ignore[attr-defined]
        loader.preloaded = tuple(self._packages)


# --- requests ---


def _receive(channel: socket.socket) -> tuple[bytes, list[int], bool]:
    """Returns one datagram, its descriptors, and whether all of it is there."""
    data, ancillary, flags, _ = channel.recvmsg(MAX_REQUEST, socket.CMSG_SPACE(_MOST_FDS * _FD_BYTES), _CLOEXEC)
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            count = len(payload) // _FD_BYTES
            fds += struct.unpack(f"={count}i", payload[: count * _FD_BYTES])
    return data, fds, not flags & _CUT


def _checked(data: bytes, fds: list[int], whole: bool) -> Message:
    """Reads a request. Raises `ValueError` that says what is wrong with it."""
    if not whole:
        raise ValueError(f"a request must have at most {MAX_REQUEST} bytes and {DESCRIPTORS[1]} descriptors")
    request = json.loads(data.decode("utf-8"))
    if not isinstance(request, dict) or request.get("t") != "fork":
        raise ValueError("a request must be an object of the type `fork`")
    if len(fds) not in DESCRIPTORS:
        raise ValueError(
            f"a request must come with {DESCRIPTORS[0]} or {DESCRIPTORS[1]} descriptors; it has {len(fds)}"
        )
    for key, kind in (("id", int), ("token", str), ("env", list)):
        if not isinstance(request.get(key), kind):
            raise ValueError(f"`{key}` must be of the type {kind.__name__}")
    if len(request["token"]) != 32:
        raise ValueError("`token` must have 32 characters")
    for pair in request["env"]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)):
            raise ValueError("`env` must hold pairs of texts")
    return request


def _id_of(data: bytes) -> int:
    """Returns the number of a request that may be broken; -1 where it cannot be read."""
    try:
        number = json.loads(data.decode("utf-8"))["id"]
    except (ValueError, KeyError, TypeError):
        return -1
    return number if isinstance(number, int) else -1


def _bytes(message: Message) -> bytes:
    return json.dumps(message).encode("ascii")


def _own_codes() -> list[int]:
    """Returns the `id`s of the code by which this process becomes a worker."""
    functions = (Zygote._between, Zygote._become_worker, Zygote._await_agent, Zygote._renew, Zygote._answer)
    return [id(one.__code__) for one in (*functions, _receive, _checked, _bytes, _write_memory)]


# --- the system ---


def _find_prctl() -> Callable[[int, int], None]:
    """Returns prctl(2). Raises `Refusal` where it cannot be had.

    Not through `ctypes`: importing that makes callbacks, whose memory forks can share.
    """
    try:
        import _ctypes

        handle = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]
        address, getpid = _ctypes.dlsym(handle, "prctl"), _ctypes.dlsym(handle, "getpid")
        if _ctypes.call_function(getpid, ()) != os.getpid():
            raise OSError("a call came back wrong")

        def prctl(option: int, argument: int) -> None:
            if _ctypes.call_function(address, (option, int(argument), 0, 0, 0)) != 0:
                raise OSError("prctl failed")

        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except Exception as error:
        raise Refusal(f"this Python cannot set a parent-death signal: {error}") from error
    return prctl


def _find_cookie() -> int:
    """Returns where in the memory of this process its cookie stands. Raises `Refusal` where it cannot be rewritten."""
    try:
        with open("/proc/self/stat", "rb") as file:
            start = int(file.read().rpartition(b")")[2].split()[47])
        with open("/proc/self/environ", "rb") as file:
            environ = b"\0" + file.read()
        at = environ.index(b"\0" + _COOKIE) + len(_COOKIE)
        value = environ[at + 1 :].partition(b"\0")[0]
        _write_memory(start + at, value)
    except (OSError, ValueError, IndexError) as error:
        raise Refusal(f"the cookie of a worker cannot be written: {error}") from error
    return start + at


def _write_memory(address: int, data: bytes) -> None:
    fd = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, address)
    finally:
        os.close(fd)


def _name_process(name: str) -> None:
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _read_until(fd: int, deadline: float) -> tuple[bytes, bool]:
    """Reads to the end or to a NUL; says whether that came before the deadline."""
    data = b""
    while not data.endswith(b"\0"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return data, False
        piece = os.read(fd, 65536)
        if not piece:
            break
        data += piece
    return data, True
