"""The zygote: what it loads ahead, what it forks, what it refuses, and that a script cannot tell the difference."""

import array
import contextlib
import ctypes
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time

import pytest

from pythond import preload
from support import CORE, LIMIT

PR_SET_CHILD_SUBREAPER = 36
NAMES = ("stdout", "stderr", "trace")


@pytest.fixture(scope="module", autouse=True)
def subreaper():
    """Makes this process what the agent is: the parent of whatever its descendants leave behind."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def ended(pid, options=0):
    """Waits for a child within the limit, and returns its status."""
    until = time.monotonic() + LIMIT
    while True:
        found, status = os.waitpid(pid, options | os.WNOHANG)
        if found:
            return status
        assert time.monotonic() < until, f"{pid} did not end"
        time.sleep(0.005)


class Forked:
    """A worker and the agent's ends of what it talks through."""

    def __init__(self):
        self.control, self._control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes = {name: os.pipe() for name in NAMES}
        self.out = {name: pipe[0] for name, pipe in pipes.items()}
        self._theirs = [pipe[1] for pipe in pipes.values()]
        self.token = secrets.token_hex(16)
        self.pid = 0

    def rights(self):
        return [self._control.fileno(), *self._theirs]

    def release(self):
        self._control.close()
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def send_spec(self, script, **more):
        script = str(script)
        spec = {
            "t": "spec", "v": 1, "mode": "once", "id": "some.script", "gen": 1, "dialect": "datakit", "file": script,
            "module": os.path.splitext(os.path.basename(script))[0], "roots": [os.path.dirname(script)], "input": "in",
            "socket": None, "host": "127.0.0.1", "port": 1, "token": self.token, "config": {}, "times": 1,
            "limits": {"cwd": os.path.dirname(script)}, **more,
        }  # fmt: skip
        self.control.send(json.dumps(spec).encode())

    def frame(self):
        self.control.settimeout(LIMIT)
        data = self.control.recv(65536)
        return json.loads(data) if data else None

    def until(self, kind):
        while True:
            frame = self.frame()
            assert frame is not None, f"no `{kind}` came; stderr: {self.read('stderr')}"
            assert kind == "fatal" or frame["t"] != "fatal", frame
            if frame["t"] == kind:
                return frame

    def read(self, name):
        data = b""
        while True:
            piece = os.read(self.out[name], 65536)
            if not piece:
                return data.decode()
            data += piece

    def wait(self):
        return ended(self.pid)

    def close(self):
        self.control.close()
        self.release()
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                ended(self.pid)
        for fd in self.out.values():
            os.close(fd)


class Zygote:
    """A zygote process under test; `said` is how it answered its boot."""

    def __init__(self, scripts=(), roots=(), env=None, dialect="datakit"):
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(LIMIT)
        self.token = secrets.token_hex(16)
        self.workers = []
        self.number = 0
        own = {
            "PYTHOND_ZYGOTE": "1", "PYTHOND_CONTROL_FD": str(theirs.fileno()), "PYTHOND_WORKER": self.token,
            "PYTHONUNBUFFERED": "1", **(env or {}),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(CORE, "pythond")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **own},
        )
        theirs.close()
        self.tell(t="scripts", scripts=[str(path) for path in scripts], roots=[str(path) for path in roots])
        self.tell(t="boot", v=1, agent=os.getpid(), dialect=dialect)
        self.said = self.hear()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for one in self.workers:
            one.close()
        self.channel.close()
        self.process.kill()
        self.process.wait(LIMIT)
        self.process.stdout.close()

    def tell(self, **message):
        self.channel.send(json.dumps(message).encode())

    def hear(self):
        return json.loads(self.channel.recv(65536))

    def ask(self, one, data, rights=None):
        """Sends a request as it is; returns the answer."""
        fds = one.rights() if rights is None else rights
        self.channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        return self.hear()

    def request(self, one, **more):
        self.number += 1
        message = {"t": "fork", "id": self.number, "env": [], "token": one.token, **more}
        return json.dumps(message).encode()

    def fork(self, **more):
        one = Forked()
        self.workers.append(one)
        answer = self.ask(one, self.request(one, **more))
        assert answer["t"] == "forked", answer
        one.release()
        one.pid = answer["pid"]
        return one

    def fds(self):
        return sorted(os.listdir(f"/proc/{self.process.pid}/fd"))


def script(path, body, interval=60, imports=""):
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    path.write_text(
        f"{imports}\nfrom datakit_framework import DataKitFramework\n"
        f"class C(DataKitFramework):\n    interval = {interval}\n    def run(self):\n{lines}"
    )
    return path


def plain(path, envs=()):
    """Runs a script as a plain worker, in the same environment."""
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one = Forked()
    _, trace = os.pipe()
    process = subprocess.Popen(
        [sys.executable, os.path.join(CORE, "pythond")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        pass_fds=(theirs.fileno(), trace),
        env={
            **os.environ, "PYTHOND_CONTROL_FD": str(theirs.fileno()), "PYTHOND_TRACE_FD": str(trace),
            "PYTHOND_WORKER": one.token, "PYTHONUNBUFFERED": "1", **dict(envs),
        },
    )  # fmt: skip
    theirs.close()
    os.close(trace)
    one.control.close()
    one.control = control
    one.send_spec(path)
    end = one.until("end")
    assert end["ok"], end["tb"]
    process.communicate(timeout=LIMIT)
    one.close()


# --- a worker ---


def test_a_forked_worker_is_a_child_of_the_agent_and_tells_how_it_ended(tmp_path):
    path = script(tmp_path / "a.py", "print('hello'); self.deep()\n")
    path.write_text(path.read_text() + "    def deep(self):\n        import os; os._exit(7)\n")
    with Zygote([path], [tmp_path]) as zygote:
        one = zygote.fork()
        hello = one.until("hello")
        assert hello["pid"] == one.pid
        one.send_spec(path)
        one.until("run")
        assert os.waitstatus_to_exitcode(one.wait()) == 7 if sys.version_info >= (3, 9) else one.wait() == 7 << 8
        assert one.read("stdout") == "hello\n"


def test_a_crash_in_c_shows_signal_and_stack(tmp_path):
    path = script(tmp_path / "a.py", "import ctypes; ctypes.string_at(0)")
    with Zygote([path], [tmp_path]) as zygote:
        one = zygote.fork()
        one.send_spec(path)
        assert os.WTERMSIG(one.wait()) == signal.SIGSEGV
        trace = one.read("trace")
        assert "a.py" in trace and "in run" in trace, trace


SEEN = """
import atexit, faulthandler, gc, json, locale, os, resource, signal, sys, threading
umask = os.umask(0); os.umask(umask)
status = dict(line.split(":", 1) for line in open("/proc/self/status") if line.startswith(("Sig", "Shd")))
seen = {
    "environ": sorted((name, value) for name, value in os.environ.items() if name != "PYTHOND_WORKER"),
    "cwd": os.getcwd(), "argv": sys.argv, "path": sys.path, "flags": list(sys.flags), "umask": umask,
    "fds": [(fd, os.get_inheritable(fd)) for fd in range(300) if os.path.exists(f"/proc/self/fd/{fd}")],
    "stdin": os.readlink("/proc/self/fd/0"), "stdin object": sys.stdin.name,
    "streams": [(stream.encoding, stream.errors, stream.line_buffering, stream.fileno(), type(stream).__name__)
                for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)],
    "signals": {number: repr(signal.getsignal(number)).split(" of ")[0] for number in range(1, 32)},
    "kernel's signals": {name: status[name].strip() for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd")},
    "threads": [thread.name for thread in threading.enumerate()],
    "main thread": [threading.current_thread() is threading.main_thread(), threading.main_thread().ident
                    == threading.get_ident(), threading.main_thread().name],
    "gc": [gc.isenabled(), gc.get_threshold()], "faulthandler": faulthandler.is_enabled(),
    "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(),
    "encodings": [sys.getfilesystemencoding(), locale.getpreferredencoding(False)],
    "executable": [sys.executable, sys.prefix, sys.exec_prefix, sys.base_prefix],
    "session": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()], "hook": sys.excepthook.__name__,
    "limits": [resource.getrlimit(which) for which in range(16)],
    "comm": open("/proc/self/comm").read(), "cmdline": open("/proc/self/cmdline").read(),
    "main": sys.modules["__main__"].__file__, "name": __name__, "file": __file__,
    "user modules": sorted(name for name, module in sys.modules.items()
                           if "site-packages" in str(getattr(module, "__file__", ""))),
    "getenv": ctypes.string_at(libc.getenv(b"EXTRA")).decode(),
    "cookie": ctypes.string_at(libc.getenv(b"PYTHOND_WORKER")).decode() == os.environ["PYTHOND_WORKER"],
    "in proc": ("PYTHOND_WORKER=" + os.environ["PYTHOND_WORKER"]) in open("/proc/self/environ").read(),
}
path = os.path.join(os.path.dirname(__file__), "seen")
with open(path + ".new", "w") as file:
    json.dump(seen, file)
os.rename(path + ".new", path)
"""


def test_a_script_cannot_tell_that_it_was_forked(tmp_path):
    imports = "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_void_p\n"
    path = script(tmp_path / "a.py", SEEN.strip(), imports=imports)
    envs = [["EXTRA", "gïven"], ["TZ", "Asia/Tokyo"]]
    plain(path, envs)
    by_exec = json.loads((tmp_path / "seen").read_text())
    (tmp_path / "seen").unlink()
    with Zygote([path], [tmp_path]) as zygote:
        one = zygote.fork(env=envs)
        one.send_spec(path)
        one.until("bye")
        by_fork = json.loads((tmp_path / "seen").read_text())
    for key, value in by_exec.items():
        assert by_fork[key] == value, key
    assert by_fork["cookie"] and by_fork["in proc"]


def test_two_workers_share_no_random_state_and_each_has_its_own_zone(tmp_path):
    body = "print(random.random(), uuid.uuid4(), next(tempfile._get_candidate_names()), os.urandom(4), time.tzname[0])"
    path = script(tmp_path / "a.py", body, imports="import os, random, tempfile, time, uuid")
    with Zygote([path], [tmp_path]) as zygote:
        said = []
        for zone in ("UTC0", "XYZ3"):
            one = zygote.fork(env=[["TZ", zone]])
            one.send_spec(path)
            one.until("bye")
            said.append(one.read("stdout").split())
        assert [line[-1] for line in said] == ["UTC", "XYZ"]
        assert all(left != right for left, right in zip(*said)), said


def test_a_script_may_fork_and_use_threads_and_processes(tmp_path):
    body = """
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    print(sum(pool.map(abs, [-1, -2])), end=" ")
pid = os.fork()
if pid == 0:
    threading.Thread(target=logging.getLogger("x").warning, args=("w",)).start()
    os._exit(5)
print(os.waitpid(pid, 0)[1] >> 8, multiprocessing.get_context("fork").Pool(1).map(abs, [-3]), end=" ")
print(subprocess.run(["echo", os.environ["PYTHOND_WORKER"]], stdout=subprocess.PIPE).stdout.decode().strip())
"""
    names = "concurrent.futures, logging, multiprocessing, os, subprocess, threading"
    path = script(tmp_path / "a.py", body.strip(), imports=f"import {names}")
    with Zygote([path], [tmp_path]) as zygote:
        one = zygote.fork()
        one.send_spec(path)
        assert one.until("end")["ok"]
        one.until("bye")
        assert one.read("stdout").split(" ", 2)[2] == f"[3] {one.token}\n"


def test_a_worker_dies_with_its_agent_even_when_it_is_stopped(tmp_path):
    path = script(tmp_path / "a.py", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    out, into = os.pipe()
    agent = os.fork()
    if agent == 0:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        zygote = Zygote([path], [tmp_path])
        one = zygote.fork()
        one.send_spec(path)
        ended(one.pid, os.WUNTRACED)
        os.write(into, f"{one.pid} {zygote.process.pid}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    ended(agent)
    os.close(into)
    pids = [int(word) for word in os.read(out, 100).split()]
    os.close(out)
    assert len(pids) == 2
    for pid in pids:  # they came to us, the next subreaper
        ended(pid)


# --- what is loaded ahead ---


def test_the_imports_of_a_script_are_found_without_running_it(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nimport json, xml.etree.ElementTree as x\nfrom urllib import request\n"
        "from concurrent.futures import ThreadPoolExecutor\nimport own.part\nimport numpy, ctypes\n"
        "from . import sibling\ndef f():\n    try:\n        import yaml, requests.adapters\n"
        "    except ImportError:\n        import multiprocessing\n"
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").write_text("import gzip\n")
    (tmp_path / "own" / "part.py").write_text("import own.part, sqlite3\nimport own\n")
    broken = tmp_path / "broken.py"
    broken.write_text("import csv\ndef f(:\n")
    found = preload.scan([str(path), str(broken), str(tmp_path / "missing.py")], [str(tmp_path)], lambda text: None)
    assert found == [
        "concurrent.futures", "gzip", "json", "requests.adapters", "sqlite3", "urllib", "urllib.request",
        "xml.etree.ElementTree", "yaml",
    ]  # fmt: skip
    assert not (tmp_path / "ran").exists()


BAD = {
    "attr": ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "threads"),
    "idna": ("print('thanks for using idna')", "it prints: thanks for using idna"),
    "jinja2": ("raise ValueError('no licence')", "it raises ValueError"),
    "psutil": ("import time\ntime.sleep(60)", "it takes longer than"),
    "pytz": ("import os\nos._exit(0)", "it ends the process"),
    "six": ("import os\nos.chdir('/proc')", "the working directory"),
    "toml": ("import os\nos.environ['X_OF_TOML'] = '1'", "the environment"),
    "tomli": ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)", "the signal handlers"),
    "xmltodict": ("import surely_not_there", "it raises No module named 'surely_not_there'"),
    "yaml": ("import sys\nsys.path.append('/x')", "sys.path"),
}


def test_a_package_that_does_more_than_load_is_dropped_and_the_others_are_not(tmp_path):
    packages, roots = tmp_path / "packages", tmp_path / "roots"
    packages.mkdir()
    roots.mkdir()
    for name, (text, _) in BAD.items():
        (packages / f"{name}.py").write_text(text)
    (packages / "simplejson.py").write_text("VALUE = 3\n")
    path = script(
        roots / "a.py",
        "print(simplejson.VALUE, sys.path.count('/x'), os.getcwd() == os.path.dirname(__file__))",
        imports="import os, sys, simplejson",
    )
    path.write_text(path.read_text() + f"    def never(self):\n        import {', '.join(BAD)}\n")
    with Zygote([path], [roots], env={"PYTHONPATH": str(packages)}) as zygote:
        assert (zygote.said["t"], zygote.said["packages"]) == ("ready", ["simplejson"])
        dropped = dict(zygote.said["dropped"])
        assert sorted(dropped) == sorted(BAD)
        for name, (_, why) in BAD.items():
            assert why in dropped[name], (name, dropped[name])
        one = zygote.fork()
        one.send_spec(path)
        one.until("bye")
        assert one.read("stdout") == "3 0 True\n"


def test_a_package_in_the_scripts_folder_wins_over_one_that_was_loaded_ahead(tmp_path):
    packages, roots = tmp_path / "packages", tmp_path / "roots"
    packages.mkdir()
    roots.mkdir()
    (packages / "yaml.py").write_text("import six\nWHOSE = 'installed with ' + six.WHOSE\n")
    (packages / "six.py").write_text("WHOSE = 'installed'\n")
    first = script(tmp_path / "a.py", "print(yaml.WHOSE)", imports="import yaml")
    second = script(roots / "b.py", "print(yaml.WHOSE)", imports="import yaml")
    (roots / "six.py").write_text("WHOSE = 'own'\n")
    with Zygote([first], [tmp_path], env={"PYTHONPATH": str(packages)}) as zygote:
        assert zygote.said["packages"] == ["yaml"]
        for path, whose in ((first, "installed with installed"), (second, "installed with own")):
            one = zygote.fork()
            one.send_spec(path)
            one.until("bye")
            assert one.read("stdout") == whose + "\n"


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n", "threads"),
        ("import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))\n", "files may be open"),
    ],
)
def test_with_a_second_thread_or_few_files_there_is_no_zygote(tmp_path, start, why):
    (tmp_path / "sitecustomize.py").write_text(start)
    with Zygote(env={"PYTHONPATH": str(tmp_path)}) as zygote:
        assert zygote.said["t"] == "refused" and why in zygote.said["why"], zygote.said
        assert zygote.process.wait(LIMIT) == 0


# --- requests ---


def test_a_broken_request_is_refused_with_its_reason_and_leaks_nothing():
    with Zygote() as zygote:
        zygote.fork().until("hello")
        before = zygote.fds()
        one = Forked()
        zygote.workers.append(one)
        good = zygote.request(one)
        long = zygote.request(one, env=[["X", "x" * 70_000]])
        full = zygote.request(one, env=[["X", "x" * (64 * 1024 - len(zygote.request(one, env=[["X", ""]])))]])
        cases = [
            (b"{", None, "Expecting"),
            (b"[]", None, "must be an object"),
            (b"\xff\xfe", None, "decode"),
            (b'{"t":"stop","id":3}', None, "of the type `fork`"),
            (good, [], "it has 0"),
            (good, one.rights()[:3], "it has 3"),
            (good, one.rights() * 2, "it has 8"),
            (good, one.rights() + one.rights()[:2], "it has 6"),
            (good, one.rights() * 10, "at most"),
            (long, None, "at most 65536 bytes"),
            (zygote.request(one, token="short"), None, "`token`"),
            (zygote.request(one, env=[["only"]]), None, "`env`"),
            (zygote.request(one, env={}), None, "`env`"),
        ]
        for data, rights, why in cases:
            answer = zygote.ask(one, data, rights)
            assert answer["t"] == "failed" and why in answer["why"], (data[:40], answer)
        assert len(full) == 64 * 1024
        answer = zygote.ask(one, full)
        assert answer["t"] == "forked", answer
        one.pid = answer["pid"]
        one.until("hello")
        assert zygote.fds() == before


def test_hundred_forks_leave_nothing_behind():
    with Zygote() as zygote:
        zygote.fork().until("hello")
        before, own = zygote.fds(), len(os.listdir("/proc/self/fd"))
        memory = memory_of(zygote.process.pid)
        for _ in range(100):
            one = zygote.fork()
            assert one.until("hello")["pid"] == one.pid
            one.close()
            zygote.workers.remove(one)
        assert zygote.fds() == before
        assert len(os.listdir("/proc/self/fd")) == own
        assert memory_of(zygote.process.pid) - memory <= 64, "kB more of its own"


def memory_of(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Anonymous:"))


def test_a_system_without_room_is_said_and_the_next_fork_works(tmp_path):
    """`os.fork` of the zygote, then of the process between, has no room while a file is there."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nfork, here = os.fork, os.path.dirname(__file__)\ndef fake():\n"
        "    for name, number in (('zygote', 1), ('middle', 2)):\n"
        "        if os.path.exists(os.path.join(here, name)) and depth[0] == number:\n"
        "            raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "    pid = fork()\n    depth[0] += pid == 0\n    return pid\ndepth = [1]\nos.fork = fake\n"
    )
    with Zygote(env={"PYTHONPATH": str(tmp_path)}) as zygote:
        before = zygote.fds()
        for name in ("zygote", "middle"):
            (tmp_path / name).touch()
            one = Forked()
            answer = zygote.ask(one, zygote.request(one))
            assert (answer["t"], answer["errno"], answer["id"]) == ("failed", 11, zygote.number), answer
            one.close()
            (tmp_path / name).unlink()
        assert zygote.fds() == before
        zygote.fork().until("hello")


# --- its own life ---


def test_secrets_of_one_worker_are_in_nobody_elses_environment(tmp_path):
    path = script(tmp_path / "a.py", "print('SECRET' in os.environ)", imports="import os")
    with Zygote([path], [tmp_path]) as zygote:
        first, second = zygote.fork(env=[["SECRET", "s3cret-of-a"]]), zygote.fork()
        for pid in (zygote.process.pid, first.pid, second.pid):
            with open(f"/proc/{pid}/environ") as file:
                assert "s3cret-of-a" not in file.read()
        for one, has in ((first, "True\n"), (second, "False\n")):
            one.send_spec(path)
            one.until("bye")
            assert one.read("stdout") == has


def test_signals_of_a_terminal_do_not_end_it_and_the_end_of_the_agent_does():
    with Zygote() as zygote:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGUSR1):
            os.kill(zygote.process.pid, number)
        one = zygote.fork()
        one.until("hello")
        os.kill(one.pid, signal.SIGHUP)
        assert os.WTERMSIG(one.wait()) == signal.SIGHUP, "a worker is not protected so"
        one.pid = 0
        zygote.channel.close()
        assert zygote.process.wait(LIMIT) == 0


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGCHLD", "SIGUSR1", "SIGTSTP"])
def test_what_was_ignored_at_the_start_is_not_in_a_worker(tmp_path, name):
    number = getattr(signal, name)
    run = f"print(signal.getsignal(signal.{name}) == signal.SIG_IGN, subprocess.call(['sh', '-c', 'exit 3']))"
    path = script(tmp_path / "a.py", run, imports="import signal, subprocess")
    before = signal.signal(number, signal.SIG_IGN)
    try:
        zygote = Zygote([path], [tmp_path])
    finally:
        signal.signal(number, before)
    with zygote:
        one = zygote.fork()
        one.send_spec(path)
        one.until("bye")
        assert one.read("stdout") == "False 3\n"


def test_its_limits_are_its_own(tmp_path):
    imports = "import os, resource"
    run = "print(os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_DATA)[0])"
    path = script(tmp_path / "a.py", run, imports=imports)
    with Zygote([path], [tmp_path]) as zygote:
        before = resource.prlimit(zygote.process.pid, resource.RLIMIT_DATA)
        one = zygote.fork()
        one.send_spec(path, limits={"nice": 7, "data": 512 << 20})
        one.until("bye")
        assert one.read("stdout") == f"7 {512 << 20}\n"
        assert os.getpriority(os.PRIO_PROCESS, zygote.process.pid) == os.getpriority(os.PRIO_PROCESS, 0)
        assert resource.prlimit(zygote.process.pid, resource.RLIMIT_DATA) == before
