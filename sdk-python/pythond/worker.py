"""A worker: one script, from the agent's first frame to `bye`.

    main thread      load → run the jobs (one job here, several in threads of their own) → finish
    control thread   reads the agent's frames; ends the process when a stop has lasted longer than its grace

The control thread is the one that may call `os._exit` while a script still runs: a run that hangs, and threads that
the script left behind, cannot keep the process. SIGTERM and SIGINT only write into a pipe that this thread reads: the
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
from pythond import client, control, dialects, guard, limits, loader, logs, schedule, sources
from pythond.emit import Emit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pythond.control import Channel, Frame
    from pythond.dialects import Job

_FIRST_OWN_FD = 100
_TERM_GRACE = 5.0
_EOF_GRACE = 2.0
_LONGEST_WAIT = 3600.0
_ROOM = 1.0
# So that their frame is short enough.
_JOBS_AT_ONCE = 200
# Between two runs: longer, and the connection to the agent is closed meanwhile.
_LONG_REST = 4.0


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
    """Moves a descriptor out of the way of scripts that close the low ones, and of the programs they start."""
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_OWN_FD)
    except OSError:
        # The limit on open files lies below that number.
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def keep_lock(fd: int) -> None:
    """Moves the lock of the script away and leaves it open to what the script starts, which is found by it."""
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


class Serving:
    """A job while it is served: `index` counts all of this process, `number` those of its script."""

    def __init__(self, index: int, job: Job, script: Script, number: int) -> None:
        self.index = index
        self.job = job
        self.script = script
        self.number = number
        self.runs = 0
        self.wake = threading.Event()
        self.asked = False


class Worker:
    """The state of this process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stopping = threading.Event()
        self._ended = threading.Lock()
        self._telling = threading.Lock()
        self._reason = "done"
        self._kill_at: float | None = None
        self._serving: list[Serving] = []
        self._signal_out, self._signal_in = (move_away(fd) for fd in os.pipe())
        self.own()

    def own(self) -> None:
        """Makes this the worker of this process, which may have been forked since it was made."""
        self._pid = os.getpid()
        self._channel.own()
        for fd, own in zip(os.pipe(), (self._signal_out, self._signal_in)):
            os.dup2(fd, own, inheritable=False)
            os.close(fd)
        os.set_blocking(self._signal_in, False)

    def serve(self) -> NoReturn:
        """Does everything from `hello` to `bye`."""
        version = sys.version_info
        py = f"{version[0]}.{version[1]}.{version[2]}"
        self._channel.send("hello", v=1, pid=self._pid, py=py, exe=sys.executable, sdk=pythond.__version__)
        try:
            spec = self._channel.receive()
            own = limits.Limits(spec.get("limits"))
            several = self._receive_scripts(spec)
            # One of several scripts that cannot be read is that script's failure.
            scripts = [] if several else [control.text_of(spec, "script", "")]
            limits.apply(own, [os.path.dirname(os.__file__), loader.CORE, *scripts])
            prepared = Prepared(spec, several, own, self._channel, self._wait_to_retry)
        except control.Closed:
            os._exit(0)
        except loader.Failure as failure:
            self._fail(failure, str(spec.get("mode")))
        except ValueError as error:
            self._fail(loader.Failure("spec", "PD0203", "ValueError", str(error), True), "worker")
        self._listen()
        _name_process(prepared.id)
        threading.excepthook = _thread_excepthook(prepared)
        loader.arrange_path(prepared.dialect.SHADOW, prepared.scripts[0].source.roots)
        prepared.files.install()
        # For scripts that post by themselves, and for the programs they start: the port may be another than 9529.
        os.environ["PYTHOND_URL"] = prepared.url
        self._serving = self._load_several(prepared) if several else self._load(prepared.scripts[0], prepared)
        self._report_ready(prepared)
        if prepared.mode == "worker":
            self._run_on_schedule(prepared)
        elif prepared.mode == "once":
            self._run_times(prepared)
        self._finish()

    def _receive_scripts(self, spec: Frame) -> list[Frame]:
        """Returns the scripts of a spec that has several; they come in frames of their own behind it."""
        scripts: list[Frame] = []
        while len(scripts) < (spec.get("several") or 0):
            scripts.extend(self._channel.receive().get("scripts") or [])
        return scripts

    def _load(self, script: Script, prepared: Prepared) -> list[Serving]:
        """Loads the only script of this process; does not return where that fails."""
        sys.argv[:] = [script.source.script]
        try:
            jobs = prepared.dialect.load(script.source, script.emit)
        except loader.Failure as failure:
            self._report_files(prepared)
            self._fail(failure, prepared.mode)
        self._leave_if_forked()
        self._report_files(prepared)
        return [Serving(number, job, script, number) for number, job in enumerate(jobs)]

    def _load_several(self, prepared: Prepared) -> list[Serving]:
        """Loads one script after the other; one that fails is told and left out, unless it must not fail."""
        serving: list[Serving] = []
        failures: list[tuple[loader.Failure, int]] = []
        for script in prepared.scripts:
            self._channel.wait_for_room(_ROOM)
            self._channel.send("loading", s=script.index)
            loader.arrange_path(prepared.dialect.SHADOW, script.source.roots)
            loader.make_room(script.source)
            sys.argv[:] = [script.source.script]
            try:
                jobs = prepared.dialect.load(script.source, script.emit)
            except loader.Failure as failure:
                self._leave_if_forked()
                self._report_files(prepared)
                if script.must_load and not _helps(failure, script.source.script):
                    self._fail(failure, prepared.mode, s=script.index)
                self._channel.send("unloaded", s=script.index, **failure.frame)
                failures.append((failure, script.index))
                continue
            self._leave_if_forked()
            self._report_files(prepared)
            serving += [Serving(len(serving) + number, job, script, number) for number, job in enumerate(jobs)]
        if failures and not serving:
            worst, index = min(failures, key=lambda one: one[0].frame["exc"] == "Helper")
            self._fail(worst, prepared.mode, s=index)
        return serving

    def _report_ready(self, prepared: Prepared) -> None:
        jobs = [_described(one) for one in self._serving]
        while len(jobs) > _JOBS_AT_ONCE:
            self._channel.wait_for_room(_ROOM)
            self._channel.send("jobs", jobs=jobs[:_JOBS_AT_ONCE])
            del jobs[:_JOBS_AT_ONCE]
        source = prepared.scripts[0].source
        more = {} if source.wanted is None else {"classes": source.classes}
        self._channel.wait_for_room(_ROOM)
        self._channel.send("ready", jobs=jobs, **more)

    def _run_on_schedule(self, prepared: Prepared) -> None:
        if len(self._serving) == 1:
            self._keep_running(self._serving[0], prepared)
            return
        threads = [
            threading.Thread(target=self._keep_running, args=(one, prepared), name=one.job.name, daemon=True)
            for one in self._serving
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            _join(thread)

    def _keep_running(self, one: Serving, prepared: Prepared) -> None:
        start = due = time.monotonic()
        while self._wait_until(due, one):
            kind = self._run(one, prepared)
            now = time.monotonic()
            if one.runs == 1:
                start = due = schedule.second_due(start, one.job.every, prepared.phase, now)
            else:
                due = schedule.next_due(start, one.job.every, now)
            self._report_end(one, kind, prepared, due - now)
            if due - now > _LONG_REST:
                one.script.agent.rest()

    def _run_times(self, prepared: Prepared) -> None:
        for one in self._serving:
            for _ in range(prepared.times):
                if self._stopping.is_set():
                    return
                self._report_end(one, self._run(one, prepared), prepared, 0.0)

    def _run(self, one: Serving, prepared: Prepared) -> dict[str, Any]:
        """Runs a job once; returns what its `end` frame says of it."""
        one.runs += 1
        self._channel.send("run", i=one.index, k=one.runs)
        one.script.emit.begin(one.number, one.job.every)
        took, failure = guard.run(one.job.run, one.script.source.is_user)
        self._leave_if_forked()
        self._hear_signals()
        logs.flush()
        logs.reopen_closed()
        return {"ms": round(took, 3), "ok": failure is None, **(failure or {})}

    def _report_end(self, one: Serving, outcome: dict[str, Any], prepared: Prepared, wait: float) -> None:
        self._report_files(prepared)
        counts = one.script.emit.take(one.number)
        self._channel.send("end", i=one.index, k=one.runs, **outcome, **counts, next_ms=int(wait * 1000))

    def _report_files(self, prepared: Prepared) -> None:
        """Tells the agent which files of the user were loaded since it was told last."""
        with self._telling:
            pieces, left_out = prepared.files.take_new()
            for piece in pieces:
                self._channel.wait_for_room(_ROOM)
                if not self._channel.send("loaded", files=piece):
                    prepared.files.forget_told(piece)
        if left_out:
            text = f"more than {sources.MAX_FILES} files of your own are loaded; changes of the rest go unnoticed"
            prepared.scripts[0].emit.warn("PD0214", text, 1)

    def _wait_until(self, due: float, one: Serving) -> bool:
        """Waits until the job is due or asked for; says whether to run it, which is not so after a stop."""
        while not self._stopping.is_set():
            left = due - time.monotonic()
            if left <= 0 or one.asked:
                one.asked = False
                one.wake.clear()
                return True
            one.wake.wait(min(left, _LONGEST_WAIT))
            one.wake.clear()
        return False

    def _wait_to_retry(self, seconds: float) -> bool:
        return self._stopping.wait(seconds)

    def _leave_if_forked(self) -> None:
        """Ends a child that the script has forked and let return: there must not be a second copy of this worker."""
        if os.getpid() != self._pid:
            logs.flush()
            os._exit(0)

    # --- the agent's side ---

    def _listen(self) -> None:
        for number in _STOPS:
            _signal.signal(number, self._on_signal)
        self._hear_signals()
        os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_forget_signals)
        # Not a `threading.Thread`: it costs less, and a script that waits for all threads does not wait for this one.
        _thread.start_new_thread(self._control, ())

    def _hear_signals(self) -> None:
        """Has signals written into the pipe; again after each run, for an event loop in it (`asyncio`) unsets that."""
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._signal_in, warn_on_full_buffer=False)

    def _on_signal(self, number: int, frame: object) -> None:
        if os.getpid() != self._pid:
            os._exit(128 + number)  # meant for a child that the script forked, not for this worker
        try:
            os.write(self._signal_in, bytes([number]))  # an event loop of the script may have taken the wake-up fd away
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
                    # Every signal that has a handler in Python is written there, those of the script too.
                    if any(number in _STOPS for number in os.read(self._signal_out, 64)):
                        self._stop("stop", _TERM_GRACE)
                elif not self._take_frame():
                    poll.unregister(fd)

    def _take_frame(self) -> bool:
        """Obeys one frame; says whether there can be more."""
        try:
            frame = self._channel.receive()
        except control.Closed:
            self._stop("eof", _EOF_GRACE)
            return False
        except ValueError:
            return True
        kind = frame.get("t")
        if kind == "stop":
            grace = frame.get("grace_ms", _TERM_GRACE * 1000)
            self._stop("stop", grace / 1000 if isinstance(grace, (int, float)) else _TERM_GRACE)
        elif kind == "dump" and _trace_fd is not None:
            faulthandler.dump_traceback(file=_trace_fd, all_threads=True)
        elif kind == "run_now":
            for one in self._serving:
                if one.index == frame.get("i"):
                    one.asked = True
                    one.wake.set()
        return True

    def _stop(self, reason: str, grace: float) -> None:
        if self._kill_at is None:
            self._reason = reason
        kill_at = time.monotonic() + grace
        self._kill_at = kill_at if self._kill_at is None else min(kill_at, self._kill_at)
        self._stopping.set()
        for one in self._serving:
            one.wake.set()

    # --- the ends ---

    def _finish(self) -> NoReturn:
        """Ends in order: the dialect's `stop`, what the script registered with `atexit`, `bye`."""
        for one in self._serving:
            if one.job.stop is not None:
                guard.run(one.job.stop, lambda path: False)
        guard.run(atexit._run_exitfuncs, lambda path: False)
        logs.flush()
        self._exit(0)

    def _abandon(self) -> NoReturn:
        """Ends although a run is not done: its grace is over. Nothing is flushed, for the run may hold that lock."""
        self._exit(0)

    def _fail(self, failure: loader.Failure, mode: str, **more: int) -> NoReturn:
        self._leave_if_forked()
        logs.flush()
        self._channel.send("fatal", **more, **failure.frame)
        if mode == "check":
            self._channel.send("bye", reason="done")
        os._exit(1)

    def _exit(self, status: int) -> NoReturn:
        # Two threads may come here; the first says `bye` and takes the process with it.
        self._ended.acquire()
        self._channel.send("bye", reason=self._reason)
        os._exit(status)


class Script:
    """One script of this process, with the token that tells the agent who reports."""

    __slots__ = ("agent", "emit", "index", "must_load", "source")

    def __init__(self, index: int, source: loader.Source, agent: client.Agent, emit: Emit, must_load: bool) -> None:
        self.index = index
        self.source = source
        self.agent = agent
        self.emit = emit
        self.must_load = must_load


class Prepared:
    """A spec, read and checked, with the scripts that came behind it where this process has several."""

    def __init__(self, spec: Frame, several: list[Frame], own: limits.Limits, channel: Channel, wait: Any) -> None:
        """Raises `ValueError` for a spec that is not as it should be."""
        if spec.get("t") != "spec" or spec.get("v") != 1:
            raise ValueError("the first frame must be a `spec` of version 1")
        self.id = control.text_of(spec, "id", "")
        self.mode = control.text_of(spec, "mode", "worker")
        if self.mode not in ("worker", "once", "check"):
            raise ValueError(f"`mode` is `{self.mode}`; it must be one of worker, once, check")
        self.times = spec.get("times") or 1
        if not isinstance(self.times, int):
            raise ValueError("`times` must be a whole number")
        self.phase = spec.get("phase") or 0.0
        if not isinstance(self.phase, float):
            raise ValueError("`phase` must be a number from 0 to 1")
        self.dialect = dialects.get(control.text_of(spec, "dialect", "datakit"))
        host, port = control.text_of(spec, "host", "127.0.0.1"), spec.get("port") or 9529
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        address = spec.get("socket") or (host, int(port))
        if own.user and isinstance(address, str) and not os.access(address, os.W_OK):
            address = (host, int(port))  # another user's way to the socket may be closed
        roots = list(spec.get("roots") or [])
        kept = control.text_of(spec, "kept", "") or None
        self.files = sources.Sources(guard.user_files(control.text_of(spec, "script"), roots), kept)
        self.scripts: list[Script] = []
        for index, one in enumerate(several or [spec]):
            source = loader.Source(
                script=control.text_of(one, "script"),
                module=control.text_of(one, "module"),
                roots=roots,
                input=control.text_of(spec, "input", ""),
                config=spec.get("config") or {},
                agent_address=(host, int(port)),
                wanted=spec.get("classes"),
                files=self.files,
            )
            agent = client.Agent(address, control.text_of(one, "token", ""), wait)
            emit = Emit(agent, Marked(channel, index) if several else channel, source.is_user)
            self.scripts.append(Script(index, source, agent, emit, bool(one.get("must"))))


class Marked:
    """A channel whose frames say which of several scripts they are of."""

    __slots__ = ("_channel", "_script")

    def __init__(self, channel: Channel, script: int) -> None:
        self._channel = channel
        self._script = script

    def send(self, kind: str, **fields: Any) -> bool:
        return self._channel.send(kind, s=self._script, **fields)


def _helps(failure: loader.Failure, script: str) -> bool:
    """Says whether a script only has nothing to run; an empty file is rather one that is being written."""
    try:
        return bool(failure.frame["exc"] == "Helper" and os.path.getsize(script))
    except OSError:
        return False


def _described(one: Serving) -> dict[str, Any]:
    job = one.job
    return {
        "i": one.index,
        "name": job.name,
        "class": job.class_name or job.name,
        "interval": job.every,
        "line": job.line,
        "next_ms": 0,
        **({"s": one.script.index} if one.script.index else {}),
    }


def _join(thread: threading.Thread) -> None:
    """Waits for a thread; in pieces, for an endless wait cannot be interrupted on every Python."""
    while thread.is_alive():
        thread.join(_LONGEST_WAIT)


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


def _thread_excepthook(prepared: Prepared) -> Any:
    default = threading.excepthook

    def hook(args: Any, /) -> None:
        default(args)
        if args.exc_value is not None and args.exc_type is not SystemExit:
            first = prepared.scripts[0]
            facts = guard.describe(args.exc_value, first.source.is_user)
            places = facts.get("where") or [{"file": "", "line": 0}]
            owners = [one for one in prepared.scripts if any(place["file"] == one.source.script for place in places)]
            name = args.thread.name if args.thread is not None else "?"
            text = f"a thread of the script (`{name}`) ended: {facts['tb']}"
            (owners or [first])[0].emit.warn("PD0310", text, places[0]["line"])

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
