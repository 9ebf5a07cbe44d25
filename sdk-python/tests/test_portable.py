"""What needs no worker can be imported and used where Python has no fcntl, no Unix sockets and no fork."""

import os
import subprocess
import sys

import pytest

from conftest import CORE
from support import LIMIT, FarEnd, answer

# Modules and names that Python on Windows does not have.
BARE = """
import sys, os, select, signal, socket
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "grp", "pwd", "resource", "termios", "syslog"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
for module, names in (
    (os, "fork geteuid getuid getppid register_at_fork set_blocking setsid nice umask O_CLOEXEC fchown setuid"),
    (select, "poll"),
    (signal, "SIGKILL SIGUSR1 SIGUSR2 SIGHUP SIGCHLD pthread_sigmask alarm setitimer"),
    (socket, "AF_UNIX socketpair MSG_DONTWAIT SO_REUSEPORT"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules.pop(name, None)
"""
PORTABLE = [
    "awaiting",
    "bell",
    "client",
    "codes",
    "control",
    "courier",
    "dialects",
    "dialects.datakit",
    "guard",
    "host",
    "jobs",
]
PORTABLE += ["leftout", "limits"]
PORTABLE += ["loader", "logs", "rows", "schedule", "sources", "spec", "testing"]
PORTABLE += ["dialects.collectd", "dialects.collectd.listing", "dialects.collectd.units"]


def run(body, *arguments):
    return subprocess.run(
        [sys.executable, "-c", f"{BARE}\nsys.path[:0] = [{CORE!r}]\n{body}", *arguments],
        capture_output=True,
        timeout=LIMIT,
    )


@pytest.mark.parametrize("name", PORTABLE)
def test_it_can_be_imported(name):
    done = run(f"import pythond.{name}")
    assert (done.returncode, done.stderr.decode()) == (0, "")


def test_the_list_is_whole():
    others = {"__init__", "__main__", "pytest_plugin"} | {
        "bytecode",
        "inquiry",
        "layout",
        "preload",
        "warmup",
        "worker",
        "zygote",
    }  # of workers only
    files = {name[:-3] for name in os.listdir(os.path.join(CORE, "pythond")) if name.endswith(".py")}
    assert files == others | {name for name in PORTABLE if not name.startswith("dialects")}


def test_a_report_arrives_over_tcp():
    with FarEnd([answer(200, b"kept")]) as far:
        post = 'print(client.Agent((sys.argv[1], int(sys.argv[2]))).post("/v1", "text/plain", b"x", 9e9).text)'
        done = run(f"from pythond import client\n{post}", far.address[0], str(far.address[1]))
    assert (done.stdout.decode().strip(), done.stderr.decode()) == ("kept", "")
    assert far.requests[0].endswith(b"\r\n\r\nx")


def test_a_collector_is_tested_by_its_author():
    done = run("""
from pythond.testing import FakeAgent, import_framework, run_once
class A(import_framework().DataKitFramework):
    def run(self):
        self.feed_metric(measurement="m", fields={"a": 1})
with FakeAgent() as agent:
    run_once(A)
print([point.measurement for point in agent.points])
""")
    assert (done.stdout.decode().strip(), done.stderr.decode()) == ("['m']", "")


def test_a_worker_on_windows_says_that_there_are_none():
    main = os.path.join(CORE, "pythond", "__main__.py")
    text = f"import os, runpy, sys\nos.name = 'nt'\nsys.argv = [{main!r}]\n"
    text += f"runpy.run_path({main!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", text], stderr=subprocess.PIPE, timeout=LIMIT)
    assert done.returncode == 1
    assert done.stderr.startswith(b"pythond does not run scripts on Windows")
