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

from pythond import dialects, loader, worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, NoReturn

    Message = Dict[str, Any]

VERSION = 1
MAX_REQUEST = 64 * 1024
# control, stdout, stderr, trace
DESCRIPTORS = 4
_FD_BYTES = 4
# More than a request may carry, so that what comes too many is seen and closed.
_MOST_FDS = 16
_FIRST_OWN_FD = 100
_ADOPTION = 1.0
_TRIAL_SECONDS = 2.0
_BOOT_SECONDS = 3.0
_SCAN_SECONDS = 1.5
_SCAN_BYTES = 1 << 20
_SCAN_FILES = 2000
_COLLECT_EVERY = 256
_COOKIE = b"PYTHOND_WORKER="
_PR_SET_PDEATHSIG = 1
_IGNORED = ("SIGINT", "SIGQUIT", "SIGHUP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2")

# Loaded ahead where a script imports them. Not here: what starts threads or keeps keys and handles that workers must
# not share (`multiprocessing` has one key per process, `ctypes` may keep its callbacks in memory that forks share).
STANDARD = frozenset(
    """
    abc argparse array ast asyncio base64 bisect binascii bz2 calendar cmath codecs collections collections.abc
    concurrent.futures configparser contextlib copy copyreg csv dataclasses datetime decimal difflib email
    email.header email.message email.mime.multipart email.mime.text email.utils enum errno fcntl fnmatch fractions
    ftplib functools gc getopt getpass gettext glob grp gzip hashlib heapq hmac html html.parser http http.client
    http.cookiejar http.cookies imaplib importlib importlib.util inspect io ipaddress itertools json keyword linecache
    locale logging logging.handlers lzma math mimetypes numbers operator os os.path pathlib pickle pkgutil platform
    poplib pprint pwd queue quopri random re reprlib resource sched secrets select selectors shlex shutil signal
    smtplib socket socketserver sqlite3 ssl stat statistics string struct subprocess sys syslog sysconfig tarfile
    telnetlib tempfile textwrap threading time timeit token tokenize traceback types typing unicodedata urllib
    urllib.error urllib.parse urllib.request uuid warnings weakref xml xml.dom xml.dom.minidom xml.etree
    xml.etree.ElementTree xml.sax xmlrpc.client zipfile zlib zoneinfo
    """.split()
)
PACKAGES = frozenset(
    """
    attr certifi chardet charset_normalizer dateutil idna jinja2 markupsafe packaging psutil pytz requests simplejson
    six toml tomli typing_extensions urllib3 xmltodict yaml
    """.split()
)


class Refusal(Exception):
    """Why there can be no zygote here."""


def main() -> tuple[int, int]:
    """Serves the agent; returns only in a forked worker, with its control and trace descriptors."""
    gc.disable()
    channel = socket.socket(fileno=int(os.environ.pop("PYTHOND_CONTROL_FD")))
    trace_fd = os.environ.pop("PYTHOND_TRACE_FD", "")
    if trace_fd.isdigit():
        os.close(int(trace_fd))
    os.environ.pop("PYTHOND_ZYGOTE", None)
    try:
        zygote = Zygote(channel)
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
        self._handlers = {
            number: signal.getsignal(number) for number in (getattr(signal, name) for name in _IGNORED)
        }
        self._packages: list[str] = []
        # From the middle process: the worker's number, or the errno of a fork that failed.
        self._told, self._tell = os.pipe()
        os.set_blocking(self._told, False)

    # --- boot ---

    def boot(self) -> None:
        """Loads what the workers will need, and says `ready`. Raises `Refusal`."""
        _name_process("pythond-zygote")
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)
        scripts, roots, boot = self._read_boot()
        self._agent = boot["agent"]
        dialect = dialects.get(boot.get("dialect", "datakit"))
        loader.arrange_path(dialect.SHADOW, [])
        deadline = time.monotonic() + _BOOT_SECONDS
        wanted = self._in_child(lambda tell: tell(*scan(scripts, roots)), _SCAN_SECONDS)[0]
        before = set(sys.modules)
        for name in [*_of_shadow(dialect.SHADOW), *sorted(STANDARD.intersection(wanted))]:
            _import(name)
        good, dropped = self._try(sorted(name for name in wanted if _top(name) in PACKAGES), deadline)
        for name in good:
            _import(name)
        self._packages = sorted(
            {top for top in map(_top, set(sys.modules) - before) if not loader.is_standard(top)}
            - {"pythond", *_of_shadow(dialect.SHADOW)}
        )
        if _threads() != 1:
            raise Refusal(f"it has {_threads()} threads once its modules are loaded, and a fork would keep only one")
        _flush()
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
            told, end = self._in_child(lambda tell, known=known, rest=rest: _trial(known, rest, tell), seconds)  # type: ignore[misc]
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
        """Does something in a child that is thrown away; returns the lines that it told, and how else than well it ended."""
        out, tell_fd = os.pipe()
        _flush()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                os.close(out)
                self._channel.close()
                act(lambda *lines: _write_all(tell_fd, "".join(line + "\n" for line in lines).encode("utf-8", "replace")))
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
        end = "" if text.endswith("\0") else ("it ends the process" if timely else f"it takes longer than {seconds:.0f} s")
        return text.rstrip("\0").splitlines(), end

    # --- serve ---

    def serve(self) -> tuple[int, int]:
        """Forks on request until the agent closes its end; returns only in a worker."""
        served = 0
        while True:
            try:
                data, fds, whole = _receive(self._channel)
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                os._exit(0)
            if not data:
                os._exit(0)
            try:
                request = _checked(data, fds, whole)
            except ValueError as error:
                _close(fds)
                self._answer({"t": "failed", "id": _id_of(data), "errno": errno.EINVAL, "why": str(error)})
                continue
            got = self._fork(request, fds)
            if got is not None:
                return got
            _close(fds)
            served += 1
            if served % _COLLECT_EVERY == 0:
                gc.collect()

    def _fork(self, request: Message, fds: list[int]) -> tuple[int, int] | None:
        """Has a worker forked and says so; returns something in the worker only."""
        _drain(self._told)
        try:
            middle = os.fork()
        except OSError as error:
            self._answer({"t": "failed", "id": request["id"], "errno": error.errno, "why": os.strerror(error.errno)})
            return None
        if middle == 0:
            try:
                pid = os.fork()
            except OSError as error:
                os.write(self._tell, struct.pack("=ii", 0, error.errno))
                os._exit(0)
            if pid:
                os.write(self._tell, struct.pack("=ii", pid, 0))
                os._exit(0)
            return self._become_worker(request, fds)
        # Once the middle process is gone the worker belongs to the agent.
        os.waitpid(middle, 0)
        try:
            pid, number = struct.unpack("=ii", os.read(self._told, 8))
        except BlockingIOError:
            pid, number = 0, errno.EAGAIN  # killed before it could fork
        if pid:
            self._answer({"t": "forked", "id": request["id"], "pid": pid})
        else:
            self._answer({"t": "failed", "id": request["id"], "errno": number, "why": os.strerror(number)})
        return None

    def _answer(self, message: Message) -> None:
        try:
            self._channel.send(_bytes(message))
        except OSError:
            os._exit(0)  # the agent is gone

    # --- the worker's first moments ---

    def _become_worker(self, request: Message, fds: list[int]) -> tuple[int, int]:
        """Turns the forked child into what an exec would have made."""
        try:
            os.setsid()
            # The number by which the agent finds what this worker leaves behind, where `/proc` shows it.
            _write_memory(self._cookie_at, request["token"].encode("ascii"))
            control, out, err, trace = fds
            os.dup2(out, 1)
            os.dup2(err, 2)
            # Above the range that is closed now, and out of the way of scripts that close the low ones.
            control, trace = worker.move_away(control), worker.move_away(trace)
            self._channel.detach()
            os.closerange(3, _FIRST_OWN_FD)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._await_agent()
            for name, value in request["env"]:
                os.environb[name.encode()] = value.encode()
            os.environb[_COOKIE[:-1]] = request["token"].encode("ascii")
            os.chdir(request["cwd"])
            _limit(request)
            self._renew(request)
            gc.enable()
            return control, trace
        except BaseException as error:
            _write_all(2, f"the forked worker could not be prepared: {type(error).__name__}: {error}\n".encode())
            os._exit(70)

    def _await_agent(self) -> None:
        """Waits until the agent is the parent, then dies with it. Order: the signal first, then a last look."""
        until = time.monotonic() + _ADOPTION
        while os.getppid() != self._agent:
            if time.monotonic() > until:
                os._exit(71)
            time.sleep(0.0002)
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._agent:
            os._exit(71)

    def _renew(self, request: Message) -> None:
        """Puts right what modules keep that were loaded before the fork."""
        if any(name == "TZ" for name, _ in request["env"]):
            time.tzset()
        modules = sys.modules
        if "random" in modules:
            modules["random"].seed()  # it does so after a fork by itself, unless a package has replaced it
        if "tempfile" in modules:
            modules["tempfile"]._name_sequence = None  # type: ignore[attr-defined]
            modules["tempfile"].tempdir = None
        if "logging" in modules:
            now = time.time_ns() if isinstance(getattr(modules["logging"], "_startTime", 0.0), int) else time.time()
            modules["logging"]._startTime = now  # type: ignore[attr-defined]
        loader.preloaded = tuple(self._packages)


def _limit(request: Message) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, request.get("nice", 0))
    memory = request.get("memory_max")
    if memory:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


# --- requests ---


def _receive(channel: socket.socket) -> tuple[bytes, list[int], bool]:
    """Returns one datagram, its descriptors, and whether all of it is there."""
    data, ancillary, flags, _ = channel.recvmsg(MAX_REQUEST, socket.CMSG_SPACE(_MOST_FDS * _FD_BYTES), socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            count = len(payload) // _FD_BYTES
            fds += struct.unpack(f"={count}i", payload[: count * _FD_BYTES])
    return data, fds, not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)


def _checked(data: bytes, fds: list[int], whole: bool) -> Message:
    """Reads a request. Raises `ValueError` that says what is wrong with it."""
    if not whole:
        raise ValueError(f"a request must have at most {MAX_REQUEST} bytes and {DESCRIPTORS} descriptors")
    request = json.loads(data.decode("utf-8"))
    if not isinstance(request, dict) or request.get("t") != "fork":
        raise ValueError("a request must be an object of the type `fork`")
    if len(fds) != DESCRIPTORS:
        raise ValueError(f"a request must come with {DESCRIPTORS} descriptors; it has {len(fds)}")
    for key, kind in (("id", int), ("cwd", str), ("token", str), ("env", list), ("nice", int)):
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


# --- what scripts import ---


def scan(scripts: Iterable[str], roots: Iterable[str]) -> list[str]:
    """Returns the modules that scripts import and that may be loaded ahead, those of their own modules included.

    The files are parsed, never run.
    """
    import ast

    until = time.monotonic() + _SCAN_SECONDS * 0.8
    found: set[str] = set()
    todo = list(dict.fromkeys(scripts))
    seen = set(todo)
    roots = list(dict.fromkeys(roots))
    while todo and time.monotonic() < until and len(seen) < _SCAN_FILES:
        try:
            path = todo.pop()
            with open(path, "rb") as file:
                tree = ast.parse(file.read(_SCAN_BYTES))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for name in imports(tree):
            if name in STANDARD or _top(name) in PACKAGES:
                found.add(name)
            for file_of in _files_of(name, roots):
                if file_of not in seen and os.path.isfile(file_of):
                    seen.add(file_of)
                    todo.append(file_of)
    return sorted(found)


def imports(tree: Any) -> set[str]:
    """Returns the dotted names in the import statements of a parsed file."""
    import ast

    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in STANDARD)
    return names


def _files_of(name: str, roots: Iterable[str]) -> Iterable[str]:
    if loader.is_standard(_top(name)):
        return
    parts = name.split(".")
    for root in roots:
        for depth in range(1, len(parts) + 1):
            base = os.path.join(root, *parts[:depth])
            yield base + ".py"
            yield os.path.join(base, "__init__.py")


def _of_shadow(shadow: str) -> list[str]:
    return sorted(name[:-3] for name in os.listdir(shadow) if name.endswith(".py"))


def _import(name: str) -> None:
    try:
        __import__(name)
    except Exception:
        # Not in this Python; the script that wants it will say so.
        pass


def _trial(known: Iterable[str], names: Iterable[str], tell: Callable[..., None]) -> None:
    """Imports packages one by one and tells of each whether it behaves."""
    out, fd = os.pipe()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.set_blocking(out, False)
    for name in known:
        _import(name)
    _said(out)
    before = _surroundings()
    for name in names:
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            tell(f"{'absent' if error.name == _top(name) else 'bad'}\t{name}\tit raises {error}")
            continue
        except BaseException as error:
            tell(f"bad\t{name}\tit raises {type(error).__name__}")
            return
        said, now = _said(out), _surroundings()
        if said:
            tell(f"bad\t{name}\tit prints: {said}")
        elif now != before:
            changed = ", ".join(key for key in now if now[key] != before[key])
            tell(f"bad\t{name}\tit changes {changed}")
            return  # what comes next is tried without it
        else:
            tell(f"good\t{name}\t")


def _surroundings() -> dict[str, Any]:
    umask = os.umask(0o22)
    os.umask(umask)
    fds = os.listdir("/proc/self/fd")
    return {
        "the number of threads": _threads(),
        "the working directory": os.getcwd(),
        "the environment": dict(os.environ),
        "sys.path": list(sys.path),
        "the umask": umask,
        "the open files": len(fds),
        "the signal handlers": [signal.getsignal(number) for number in range(1, 32)],
        "the standard streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
    }


def _said(fd: int) -> str:
    _flush()
    try:
        return " ".join(os.read(fd, 4096).decode("utf-8", "replace").split())[:200]
    except BlockingIOError:
        return ""


# --- the system ---


def _find_prctl() -> Callable[[int, int], None]:
    """Returns prctl(2). Raises `Refusal` where it cannot be had.

    Not through `ctypes`: importing that makes callbacks, whose memory forks can share.
    """
    try:
        import _ctypes

        handle = _ctypes.dlopen(None, 2)
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


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


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
