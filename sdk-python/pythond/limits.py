"""What a worker does to itself before the user's file is opened: limits, priority, umask, user, folder.

Done here and not by whoever starts the process, so that a worker is set up alike whether it was executed or forked.
The order matters: what needs rights comes before the user, and the folder after it, for that user must be able to
enter it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enum members of `signal`, whose memory a worker would copy
import os
import stat
import sys

from pythond import codes, loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_SIGKILL = 9


class Limits:
    """The `limits` of a spec frame; what is absent is left as it is."""

    __slots__ = ("core", "cwd", "data", "environment", "files", "nice", "oom_score_adj", "processes", "umask", "user")

    def __init__(self, frame: Any) -> None:
        """Raises `ValueError` for a value of the wrong type."""
        if frame is None:
            frame = {}
        if not isinstance(frame, dict):
            raise ValueError("`limits` must be an object")
        self.core = _number(frame, "core")
        self.data = _number(frame, "data")
        self.files = _number(frame, "files")
        self.nice = _number(frame, "nice")
        self.oom_score_adj = _number(frame, "oom_score_adj")
        self.processes = _number(frame, "processes")
        self.umask = _number(frame, "umask")
        self.cwd = _text(frame, "cwd")
        self.user = _text(frame, "user")
        # Of HOME, USER and LOGNAME those that the settings do not give themselves.
        self.environment: list[str] = list(frame.get("environment") or [])


def _number(frame: dict[str, Any], key: str) -> int | None:
    value = frame.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"`limits.{key}` must be a whole number")
    return value


def _text(frame: dict[str, Any], key: str) -> str | None:
    value = frame.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"`limits.{key}` must be a text")
    return value


def apply(limits: Limits, needed: Iterable[str], state_dir: str = "") -> None:
    """Sets this process up; `needed` are the files and folders that it must be able to read afterwards, `state_dir` is
    where it may keep what it likes.

    Raises `loader.Failure`, which nothing but a change of the settings or of the machine cures.
    """
    _volunteer(limits.oom_score_adj)
    _set_limits(limits)
    _be_nice(limits.nice)
    if limits.umask is not None:
        os.umask(limits.umask)
    if limits.user:
        _become(limits.user, limits, state_dir)
        for path in needed:
            _check_readable(path, limits.user)
    if limits.cwd:
        _enter(limits.cwd, limits.user)


def default_signals() -> None:
    """Gives back their default to signals that this process was started without: whoever starts the agent under nohup,
    from cron or from a shell script has some ignored, and a script, and what that starts, must not be able to tell.

    Python itself ignores SIGPIPE and SIGXFSZ, and gives them back to the programs that it starts.
    """
    own = (_signal.SIGPIPE, getattr(_signal, "SIGXFSZ", _signal.SIGPIPE))
    for number in range(1, _signal.NSIG):
        if number not in own and _signal.getsignal(number) == _signal.SIG_IGN:
            is_interrupt = number == _signal.SIGINT
            _signal.signal(number, _signal.default_int_handler if is_interrupt else _signal.SIG_DFL)


def _failure(code: str, message: str, error: BaseException | None = None, help: str = "") -> loader.Failure:
    more = {"help": help} if help else {}
    exc = type(error).__name__ if error is not None else "PermissionError"
    return loader.Failure("limits", code, exc, message, True, **more)


def _volunteer(score: int | None) -> None:
    """Goes first when memory runs out: the agent must outlive its workers."""
    if score is None:
        return
    try:
        # Not with `open`: a text file takes a worker 60 KB of its own memory.
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            os.write(fd, b"%d" % score)
        finally:
            os.close(fd)
    except OSError:
        # Where /proc is not writable, or not there, this is a wish.
        pass


def _set_limits(limits: Limits) -> None:
    try:
        import resource
    except ImportError:
        return  # Windows has none of them
    # A soft limit alone for files: `select` fails above 1024, and a script that knows better may raise it.
    for kind, value, is_hard in (
        (resource.RLIMIT_CORE, limits.core, True),
        (resource.RLIMIT_NOFILE, limits.files, False),
        (resource.RLIMIT_DATA, limits.data, True),
    ):
        if value is not None:
            _limit(resource, kind, value, is_hard)


def _limit(resource: Any, kind: int, value: int, is_hard: bool) -> None:
    most = resource.getrlimit(kind)[1]
    wanted = value if most == resource.RLIM_INFINITY else min(value, most)
    try:
        resource.setrlimit(kind, (wanted, wanted if is_hard else most))
    except (OSError, ValueError) as error:
        raise _failure(
            codes.RESOURCE_LIMIT, f"resource limit {kind} cannot be set to {wanted}: {error}", error
        ) from error


def _be_nice(nice: int | None) -> None:
    if nice is None or not hasattr(os, "setpriority"):
        return
    present = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError as error:
        if 0 <= nice <= present:
            return  # the agent itself runs at a lower priority, which only root may raise; nobody is hurt
        help = "only root may set a priority below 0; start the agent as root or take `nice` out"
        raise _failure(codes.NO_RIGHT, f"`nice = {nice}` cannot be had: {error.strerror}", error, help) from error


# --- another user ---


def _become(name: str, limits: Limits, state_dir: str) -> None:
    """Becomes the user with all its groups, and stays bound to the agent.

    The kernel clears the parent-death signal and closes `/proc/self` when a process changes its user.
    """
    entry = _entry(name)
    if os.geteuid() != entry.pw_uid:
        if os.geteuid() != 0:
            help = f"start the agent as root or as `{name}`, or take `user` out"
            raise _failure(codes.NO_RIGHT, f"only root can run scripts as `{name}`; the agent is not root", None, help)
        if limits.processes is not None:
            _limit_processes(entry.pw_uid, limits.processes)
        if state_dir:
            _hand_over(state_dir, entry)
        _switch(entry)
    for key, value in (("HOME", entry.pw_dir), ("USER", entry.pw_name), ("LOGNAME", entry.pw_name)):
        if key in limits.environment:
            os.environ[key] = value


def _hand_over(folder: str, entry: Any) -> None:
    """Makes the folder of an input's state and gives it to the user, with what another user of the input left there.

    Below a folder that belongs to others nothing is trusted: no link is followed, and no file that has a second name.
    """
    try:
        above = os.path.dirname(folder)
        if not os.path.isdir(above):
            os.makedirs(above)
            # Whatever the umask: each user enters it on the way to its own.
            os.chmod(above, 0o711)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _give(folder, entry, os.O_DIRECTORY)
        for name in os.listdir(folder):
            _give(os.path.join(folder, name), entry, os.O_NONBLOCK)
    except OSError:
        # Whoever keeps something there says that it cannot.
        pass


def _give(path: str, entry: Any, flags: int) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags)
    except OSError:
        return
    try:
        there = os.fstat(fd)
        is_plain = stat.S_ISDIR(there.st_mode) or (stat.S_ISREG(there.st_mode) and there.st_nlink == 1)
        if is_plain and there.st_uid != entry.pw_uid:
            os.fchown(fd, entry.pw_uid, entry.pw_gid)
    finally:
        os.close(fd)


def _entry(name: str) -> Any:
    import pwd

    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError) as error:
        raise _failure(codes.WRONG_VALUE, f"there is no user `{name}` on this machine", error) from error


def _switch(entry: Any) -> None:
    agent = os.getppid()
    for fd in (1, 2):
        # Pipes to the agent: `/dev/stdout` opens them anew, which only their owner may.
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, entry.pw_uid, entry.pw_gid)
    try:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        raise _failure(codes.NO_RIGHT, f"cannot become user `{entry.pw_name}`: {error.strerror}", error) from error
    _stay_bound(agent)


def _stay_bound(agent: int) -> None:
    """Has the kernel end this process with the agent, and lets it look at itself in `/proc`."""
    if sys.platform != "linux":
        return
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        # A Python without ctypes; the closed control socket, the sweep at the next start and the lock still end it.
        pass
    if os.getppid() != agent:
        os._exit(1)  # the agent died before the signal was set


def _limit_processes(uid: int, more: int) -> None:
    """Stops a fork bomb: the kernel counts all processes and threads of a user, so those that are there are added."""
    import resource

    count = 0
    for pid in os.listdir("/proc") if os.path.isdir("/proc/self/task") else []:
        try:
            if pid.isdecimal() and os.stat(f"/proc/{pid}").st_uid == uid:
                count += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            # It has ended meanwhile.
            pass
    _limit(resource, resource.RLIMIT_NPROC, count + more, True)


def _check_readable(path: str, user: str) -> None:
    if os.access(path, os.R_OK):
        return
    if not os.path.lexists(path) and not _closed_folder(path):
        return  # not there at all: whoever opens it says so
    closed = _closed_folder(path)
    why = f"it may not enter `{closed}`" if closed else "the file is not readable for it"
    raise _failure(codes.NO_RIGHT, f"user `{user}` cannot read `{path}`: {why}", None, f"chmod o+rx {closed or path}")


def _closed_folder(path: str) -> str:
    """Returns the outermost folder on the way that this process may not enter; empty when there is none."""
    parts = os.path.dirname(os.path.abspath(path)).split(os.sep)
    for end in range(1, len(parts) + 1):
        folder = os.sep.join(parts[:end]) or os.sep
        if os.path.isdir(folder) and not os.access(folder, os.X_OK):
            return folder
    return ""


def _enter(cwd: str, user: str | None) -> None:
    try:
        os.chdir(cwd)
    except FileNotFoundError as error:
        raise _failure(codes.NO_SUCH_PATH, f"the folder {cwd} is not there", error) from error
    except OSError as error:
        who = f"user `{user}` cannot" if user else "cannot"
        raise _failure(codes.NO_RIGHT, f"{who} enter the folder {cwd}: {error.strerror}", error) from error
