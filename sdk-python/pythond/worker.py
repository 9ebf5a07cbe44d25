"""A worker: one unit or several, from the agent's first frame to `bye`.

    main thread      load → run the jobs (`jobs`: one alone here, several in threads of their own) → finish
                     or, where it only lists: tell the units of an input
    control thread   reads the agent's frames; ends the process when a stop has lasted longer than its grace

The control thread is the one that may call `os._exit` while a job still runs: a run that hangs, and threads that
were left behind, cannot keep the process. SIGTERM and SIGINT only write into a pipe that this thread reads: the
interpreter's own handler does (`set_wakeup_fd`), for one in Python has to wait until the main thread is back from C
code, or from the wait that it began just after the signal came, and one that takes a lock can stand in its own way.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enum members of `signal`, whose memory a worker would copy
import _thread
import atexit
import faulthandler
import fcntl
import os
import select
import signal
import sys
import threading
import time

import pythond
from pythond import codes, control, guard, limits, loader, logs, schedule, sources
from pythond import spec as specs
from pythond.jobs import Jobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Sequence

    from pythond.control import Channel, Frame
    from pythond.dialects import Fault, Listing, ToldUnit
    from pythond.inquiry import Inquiries
    from pythond.spec import Member, Spec

_FIRST_OWN_FD = 100
_TERM_GRACE = 5.0
_EOF_GRACE = 2.0
_ROOM = 1.0
# What a frame has beside its list.
_HEAD = 200
_MAX_LINE = 400


def main() -> NoReturn:
    """Serves the agent at the other end of `PYTHOND_CONTROL_FD`; does not return."""
    control_fd = os.environ.pop("PYTHOND_CONTROL_FD", "")
    trace_fd = os.environ.pop("PYTHOND_TRACE_FD", "")
    if not control_fd.isdigit():
        sys.stderr.write("this is the worker of pythond, started by it; to run a script by hand: pythond run FILE\n")
        sys.exit(2)
    lock_fd = os.environ.pop("PYTHOND_LOCK_FD", "")
    if lock_fd.isdigit():
        keep_lock(int(lock_fd))
    channel = control.Channel(move_away(int(control_fd)))
    watch_for_crashes(move_away(int(trace_fd)) if trace_fd.isdigit() else None)
    logs.replace_streams()
    Worker(channel).serve()


def move_away(fd: int) -> int:
    """Moves a descriptor out of the way of collectors that close the low ones, and of the programs they start."""
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_OWN_FD)
    except OSError:
        # The limit on open files lies below that number.
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def keep_lock(fd: int) -> None:
    """Moves the lock of the unit away and leaves it open to what that starts, which is found by it."""
    try:
        fcntl.fcntl(fd, fcntl.F_DUPFD, _FIRST_OWN_FD)
    except OSError:
        # As in `move_away`.
        fcntl.fcntl(fd, fcntl.F_DUPFD, 3)
    os.close(fd)


_trace_fd: int | None = None


def watch_for_crashes(fd: int | None) -> None:
    """Has the interpreter write its stacks to the trace pipe on a crash and on SIGUSR2, even from within C code."""
    global _trace_fd
    _trace_fd = fd
    if fd is not None:
        faulthandler.enable(file=fd, all_threads=True)
        faulthandler.register(signal.SIGUSR2, file=fd, all_threads=True, chain=False)


class Worker:
    """The state of this process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stopping = threading.Event()
        self._ended = threading.Lock()
        self._telling = threading.Lock()
        self._reason = "done"
        self._kill_at: float | None = None
        self._mode: object = None
        self._jobs = Jobs(channel, self, self._stopping)
        self._inquiries: Inquiries | None = None
        self._signal_out, self._signal_in = (move_away(fd) for fd in os.pipe())
        self.own()

    def own(self) -> None:
        """Makes this the worker of this process, which may have been forked since it was made."""
        self._pid = os.getpid()
        self._main_thread = _thread.get_ident()
        self._channel.own()
        for fd, own in zip(os.pipe(), (self._signal_out, self._signal_in)):
            os.dup2(fd, own, inheritable=False)
            os.close(fd)
        os.set_blocking(self._signal_in, False)

    def serve(self) -> NoReturn:
        """Does everything from `hello` to `bye`."""
        self.greet()
        try:
            spec = self.receive()
        except control.Closed:
            os._exit(0)
        except loader.Failure as failure:
            self._fail(failure)
        except ValueError as error:
            self._fail(loader.Failure("spec", codes.LOAD_FAILED, "ValueError", str(error), True))
        self._listen()
        _name_process(spec.id)
        self.settle_in(spec)
        if spec.mode == "list":
            self._list(spec, self._members[0])
            self._finish([])
        loaded = self.load(spec)
        if spec.mode == "worker":
            self._jobs.serve()
        elif spec.mode == "once":
            self._jobs.run_times(spec.times, spec.only)
        self._finish(loaded)

    def greet(self) -> None:
        version = sys.version_info
        py = f"{version[0]}.{version[1]}.{version[2]}"
        self._channel.send("hello", v=1, pid=self._pid, py=py, exe=sys.executable, sdk=pythond.__version__)

    def receive(self) -> Spec:
        """Receives the spec and makes this process what it wants, with the members that it names.

        Raises `control.Closed`, `loader.Failure` for a limit that cannot be had, `ValueError` for a spec that is wrong.
        """
        frame = self._channel.receive()
        self._mode = frame.get("mode")
        own = limits.Limits(frame.get("limits"))
        several: list[Frame] = []
        while len(several) < (frame.get("several") or 0):
            several.extend(self._channel.receive().get("units") or [])
        # One of several files that cannot be read is that unit's failure.
        file = "" if several else control.text_of(frame, "file", "")
        needed = [os.path.dirname(os.__file__), loader.CORE, *([file] if file else [])]
        limits.apply(own, needed, control.text_of(frame, "state_dir", ""))
        spec = self._spec = specs.Spec(frame, several, bool(own.user))
        self._jobs.phase = spec.phase
        self._members = specs.members(spec, self._channel, self._jobs, self._stopping.wait)
        return spec

    def settle_in(self, spec: Spec) -> None:
        """Has imports and threads of the user be what the spec wants."""
        threading.excepthook = _thread_excepthook(self._members)
        loader.arrange_path(spec.dialect.PATH_FIRST, spec.roots, spec.dialect.PATH_LAST)
        spec.files.install()
        # For collectors that post by themselves, and for the programs they start: the port may be another than 9529.
        os.environ["PYTHOND_URL"] = spec.url

    # --- loading and listing ---

    def load(self, spec: Spec) -> list[Member]:
        """Loads the units and tells their jobs; returns those that could be loaded, does not return without any."""
        loaded = self._load_several(spec) if spec.is_shared else self._load(spec, self._members[0])
        self._jobs.tell()
        self._channel.wait_for_room(_ROOM)
        self._channel.send("ready")
        return loaded

    def _load(self, spec: Spec, member: Member) -> list[Member]:
        """Loads the only unit of this process; does not return where that fails."""
        try:
            self._load_unit(spec, member)
        except loader.Failure as failure:
            self._fail(failure)
        return [member]

    def _load_several(self, spec: Spec) -> list[Member]:
        """Loads one unit after the other; one that fails is told and left out, unless it must not fail."""
        loaded: list[Member] = []
        failures: list[tuple[loader.Failure, Member]] = []
        for member in self._members:
            self._channel.wait_for_room(_ROOM)
            self._channel.send("loading", u=member.number)
            loader.arrange_path(spec.dialect.PATH_FIRST, member.unit.roots, spec.dialect.PATH_LAST)
            loader.make_room(member.unit)
            try:
                self._load_unit(spec, member)
            except loader.Failure as failure:
                if member.must_load and not _is_passive(failure, member.unit.file):
                    self._fail(failure, member)
                self._channel.send("unloaded", u=member.number, **failure.frame)
                failures.append((failure, member))
                continue
            loaded.append(member)
        if failures and not loaded:
            self._fail(*min(failures, key=lambda one: one[0].is_passive))
        return loaded

    def _load_unit(self, spec: Spec, member: Member) -> None:
        """Has the dialect load a unit. Raises `loader.Failure`, whatever that raises."""
        sys.argv[:] = [member.unit.file]
        try:
            spec.dialect.load(member.unit, member.host)
        except BaseException as error:
            self._jobs.drop_of(member.host)
            raise loader.as_failure(error, spec.files.is_user, "load") from error
        finally:
            self.settle()
            self.report_files()

    def _list(self, spec: Spec, member: Member) -> None:
        """Tells the units of an input, or of a file; does not return where that cannot be done at all."""
        sys.argv[:] = [member.unit.file]
        try:
            listing = spec.dialect.list(member.unit, member.host)
            units, faults = _described(listing)
        except BaseException as error:
            self.settle()
            self.report_files()
            self._fail(loader.as_failure(error, spec.files.is_user, "list"))
        self.settle()
        self.report_files()
        for piece in units:
            self._channel.wait_for_room(_ROOM)
            self._channel.send("units", units=piece)
        for fault in faults:
            self._channel.wait_for_room(_ROOM)
            self._channel.send("fault", **fault)
        self._channel.wait_for_room(_ROOM)
        self._channel.send("listed")

    # --- what the jobs need of the process ---

    def settle(self) -> None:
        """Puts right what the user's code may have left behind."""
        self._leave_if_forked()
        self._hear_signals()
        logs.flush()
        logs.reopen_closed()

    def report_files(self) -> None:
        """Tells the agent which files of the user came into use since it was told last."""
        files = self._spec.files
        with self._telling:
            pieces, left_out = files.take_new()
            for piece in pieces:
                self._channel.wait_for_room(_ROOM)
                if not self._channel.send("loaded", files=piece):
                    files.forget_told(piece)
            frames, unread = files.take_read()
            for frame in frames:
                self._channel.wait_for_room(_ROOM)
                if not self._channel.send("read", **frame):
                    files.forget_read(frame)
        host = self._members[0].host
        if left_out:
            text = f"more than {sources.MAX_FILES} files of your own are loaded; changes of the rest go unnoticed"
            host.warn(codes.TOO_MANY_FILES, text, line=1)
        if unread:
            text = f"more than {sources.MAX_FILES} settings files or folders are read; changes of the rest go unnoticed"
            host.warn(codes.TOO_MANY_FILES, text)

    def _leave_if_forked(self) -> None:
        """Ends a child that a collector has forked and let return: there must not be a second copy of this worker."""
        if os.getpid() != self._pid:
            logs.flush()
            os._exit(0)

    # --- the agent's side ---

    def _listen(self) -> None:
        for number in _STOPS:
            _signal.signal(number, self._on_signal)
        self._hear_signals()
        os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_forget_signals)
        # Not a `threading.Thread`: it costs less, and whoever waits for all threads does not wait for this one.
        _thread.start_new_thread(self._control, ())

    def _hear_signals(self) -> None:
        """Has signals written into the pipe; again after each run, for an event loop in it (`asyncio`) unsets that."""
        if _thread.get_ident() == self._main_thread:
            signal.set_wakeup_fd(self._signal_in, warn_on_full_buffer=False)

    def _on_signal(self, number: int, frame: object) -> None:
        if os.getpid() != self._pid:
            os._exit(128 + number)  # meant for a child that a collector forked, not for this worker
        try:
            os.write(self._signal_in, bytes([number]))  # an event loop may have taken the wake-up fd away
        except OSError:
            # The pipe is full of earlier signals.
            pass

    def _control(self) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._signal_out, select.POLLIN)
        while True:
            left = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
            if left == 0.0:
                self._abandon()
            for fd, _ in poll.poll(None if left is None else int(left * 1000) + 1):
                if fd == self._signal_out:
                    # Every signal that has a handler in Python is written there, those of collectors too.
                    if any(number in _STOPS for number in os.read(self._signal_out, 64)):
                        self._stop("stop", _TERM_GRACE)
                        self._jobs.cancel()
                elif not self._take_frame():
                    poll.unregister(fd)

    def _take_frame(self) -> bool:
        """Obeys one frame; says whether there can be more."""
        try:
            frame = self._channel.receive()
        except control.Closed:
            self._stop("eof", _EOF_GRACE)
            self._jobs.cancel()
            return False
        except ValueError:
            return True
        kind = frame.get("t")
        if kind == "stop":
            grace = frame.get("grace_ms", _TERM_GRACE * 1000)
            self._stop("stop", grace / 1000 if isinstance(grace, (int, float)) else _TERM_GRACE)
            # A worker that is only replaced may finish its runs.
            if not frame.get("finish"):
                self._jobs.cancel()
        elif kind == "dump" and _trace_fd is not None:
            faulthandler.dump_traceback(file=_trace_fd, all_threads=True)
        elif kind == "run_now":
            self._jobs.run_now(frame.get("i"))
        elif kind == "recheck":
            self._jobs.recheck()
        elif kind == "resources":
            self._inquire(frame)
        return True

    def _inquire(self, frame: Frame) -> None:
        from pythond import inquiry  # few workers are ever asked

        if self._inquiries is None:
            self._inquiries = inquiry.Inquiries(self._channel)
        self._inquiries.take(frame, [one for one in self._jobs.all() if not one.is_dropped])

    def _stop(self, reason: str, grace: float) -> None:
        if self._kill_at is None:
            self._reason = reason
        kill_at = time.monotonic() + grace
        self._kill_at = kill_at if self._kill_at is None else min(kill_at, self._kill_at)
        self._stopping.set()
        self._jobs.stop()

    # --- the ends ---

    def _finish(self, loaded: Sequence[Member]) -> NoReturn:
        """Ends in order: each job's `stop`, the dialect's `close`, what was registered with `atexit`, `bye`."""
        self._jobs.finish()
        for member in loaded:
            failure = guard.run(self._spec.dialect.close, member.host.is_user, member.host)[1]
            if failure is not None:
                sys.stderr.write(f"{member.unit.id} did not end well:\n{failure['tb']}")
        guard.run(atexit._run_exitfuncs, lambda path: False)
        logs.flush()
        self._exit(0)

    def _abandon(self) -> NoReturn:
        """Ends although a run is not done: its grace is over. Nothing is flushed, for the run may hold that lock."""
        self._exit(0)

    def _fail(self, failure: loader.Failure, member: Member | None = None) -> NoReturn:
        self._leave_if_forked()
        logs.flush()
        self._channel.send("fatal", u=member.number if member else 0, **failure.frame)
        if self._mode in ("check", "list"):
            self._channel.send("bye", reason="done")
        os._exit(1)

    def _exit(self, status: int) -> NoReturn:
        # Two threads may come here; the first says `bye` and takes the process with it.
        self._ended.acquire()
        self._channel.send("bye", reason=self._reason)
        os._exit(status)


def _is_passive(failure: loader.Failure, file: str) -> bool:
    """Says whether a unit only has nothing to run; an empty file is rather one that is being written."""
    try:
        return failure.is_passive and os.path.getsize(file) > 0
    except OSError:
        return False


def _described(listing: Listing) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """Returns the units of a listing in pieces that fit a frame, and its faults."""
    units = [_unit(one) for one in listing.units]
    faults = [_fault(one) for one in listing.faults]
    pieces = control.in_pieces(units)
    for piece in pieces:
        if len(control.encode({"units": piece})) > control.MAX_FRAME - _HEAD:
            raise ValueError(f"the unit {piece[0]['id']} takes more than a frame of {control.MAX_FRAME} bytes")
    return pieces, faults


def _unit(one: ToldUnit) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": one.title,
        "file": one.file,
        "line": one.line,
        "reads": list(one.reads),
        "parts": one.parts,
        "process": one.process,
        "quiet": one.quiet,
        "every": schedule.interval_of(one.every, 0.0) or None,
        **({"off": one.off} if one.off else {}),
    }


def _fault(one: Fault) -> dict[str, Any]:
    return {
        "code": one.code,
        "msg": control.cut(one.text),
        "file": one.file,
        "line": one.line,
        "col": one.column,
        "severity": one.severity,
        "src": one.source[:_MAX_LINE],
        "help": control.cut(one.help),
    }


_STOPS = (signal.SIGTERM, signal.SIGINT)
_held = threading.local()


def _hold_signals() -> None:
    """Keeps a stop that comes during a fork from reaching the child while it still has this worker's handlers."""
    _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)


def _forget_signals() -> None:
    """Makes a forked child an ordinary process again: a SIGTERM for it is not one for this worker."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _release_signals()


def _thread_excepthook(members: Sequence[Member]) -> Any:
    default = threading.excepthook

    def hook(args: Any, /) -> None:
        default(args)
        if args.exc_value is not None and args.exc_type is not SystemExit:
            facts = guard.describe(args.exc_value, members[0].host.is_user)
            places = facts.get("where") or [{"file": "", "line": 0}]
            owners = [one for one in members if any(place["file"] == one.unit.file for place in places)]
            name = args.thread.name if args.thread is not None else "?"
            text = f"the thread `{name}` ended: {facts['tb']}"
            (owners or members)[0].host.warn(codes.THREAD_RAISED, text, places[0]["file"], places[0]["line"])

    return hook


def _name_process(id: str) -> None:
    """Names the process for `ps` and `top`; without `prctl`, which would cost the memory of `ctypes`."""
    try:
        fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, f"pythond:{id}".encode()[:15])
        finally:
            os.close(fd)
    except OSError:
        # Not Linux.
        pass
