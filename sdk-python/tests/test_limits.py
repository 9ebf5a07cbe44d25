"""What a worker does to itself before it opens its script."""

import json
import os
import pathlib
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from pythond import limits, loader
from support import CORE, Worker, frames_of, one

NOBODY = pwd.getpwnam("nobody")


def _open_python():
    """An interpreter that every user may run; those of version managers often lie in a closed home."""
    test = f"import os; os.setgid({NOBODY.pw_gid}); os.setuid({NOBODY.pw_uid}); import http.client, resource"
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", test], capture_output=True, check=False).returncode == 0:
            return python
    return None


OPEN_PYTHON = _open_python() if os.geteuid() == 0 else None


@pytest.fixture
def as_root():
    """Goes without the test where this user cannot become another; with `PYTHOND_REQUIRE_ROOT=1` that is a failure."""
    if OPEN_PYTHON is None:
        assert os.environ.get("PYTHOND_REQUIRE_ROOT") != "1", "this user cannot run a Python as `nobody`"
        pytest.skip("needs root, who can become another user, and a Python that this user can read")


def script(folder, run):
    path = folder / "script.py"
    body = "".join(f"        {line}\n" for line in run.splitlines())
    path.write_text(
        "import json, os, resource, sys, time\nfrom datakit_framework import DataKitFramework\n"
        f"class C(DataKitFramework):\n    interval = 0.1\n    def run(self):\n{body}"
    )
    return path


@pytest.fixture
def open_folder():
    """A folder that every user may enter, which pytest's own are not."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    yield pathlib.Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def open_core(open_folder, monkeypatch):
    """The package where every user can read it."""
    core = open_folder / "core"
    shutil.copytree(os.path.join(CORE, "pythond"), core / "pythond")
    monkeypatch.setattr("support.CORE", str(core))
    monkeypatch.setattr("support.PYTHON", OPEN_PYTHON)
    return str(core)


def facts_of(path, **own):
    with Worker(path, "once", spec={"limits": own}) as worker:
        frames = worker.rest()
        out, err = worker.output()
    ends = [frame for frame in frames if frame["t"] == "end"]
    assert ends and ends[0]["ok"], (frames, err)
    return json.loads(out)


def fatal_of(path, **own):
    frames, status = frames_of(path, "worker", spec={"limits": own})
    fatal = one(frames, "fatal")
    assert status == 1
    assert fatal["permanent"] is True
    return fatal["code"], fatal["msg"]


TELL = """\
get = resource.getrlimit
print(json.dumps({
    "nice": os.getpriority(os.PRIO_PROCESS, 0), "core": get(resource.RLIMIT_CORE), "files": get(resource.RLIMIT_NOFILE),
    "data": get(resource.RLIMIT_DATA), "cwd": os.getcwd(), "umask": os.umask(0), "uid": os.getuid(), "gid": os.getgid(),
    "groups": sorted(os.getgroups()), "env": [os.environ.get(key) for key in ("HOME", "USER", "LOGNAME")],
    "oom": int(open("/proc/self/oom_score_adj").read()), "processes": get(resource.RLIMIT_NPROC),
    "environ": len(open("/proc/self/environ", "rb").read()),
}))"""


def test_all_of_it_is_there_before_the_script_is_opened(tmp_path):
    path = script(tmp_path, "")
    path.write_text(
        f"import json, os, resource\n{TELL}\n"
        + path.read_text().replace("    def run(self):\n", "    def run(self): pass\n")
    )
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    own = {"core": 0, "files": 64, "data": 1 << 30, "nice": 7, "oom_score_adj": 600, "umask": 0o27, "cwd": str(cwd)}
    facts = facts_of(path, **own)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert (facts["core"], facts["files"], facts["data"]) == ([0, 0], [64, hard], [1 << 30, 1 << 30])
    assert (facts["nice"], facts["oom"], facts["umask"], facts["cwd"]) == (7, 600, 0o27, str(cwd))


def test_without_limits_nothing_is_changed(tmp_path):
    facts = facts_of(script(tmp_path, TELL))
    assert (facts["uid"], facts["cwd"]) == (os.getuid(), os.getcwd())
    assert facts["nice"] == os.getpriority(os.PRIO_PROCESS, 0)


def test_a_limit_above_the_hard_one_is_that_one(tmp_path):
    shell = 'ulimit -n 50; ulimit -d 500000; exec "$0" "$@"'
    code = (
        "from pythond import limits; import resource as r;"
        "limits.apply(limits.Limits({'files': 1024, 'data': 1 << 40}), []);"
        "print(r.getrlimit(r.RLIMIT_NOFILE)[0], r.getrlimit(r.RLIMIT_DATA)[0])"
    )
    done = subprocess.run(["sh", "-c", shell, sys.executable, "-c", code], cwd=CORE, capture_output=True, check=True)
    assert done.stdout.split() == [b"50", b"512000000"]


def test_memory_over_the_limit_is_an_error_of_the_run_and_nothing_else(tmp_path):
    frames, _ = frames_of(script(tmp_path, "b'x' * (2 << 30)"), "once", spec={"limits": {"data": 256 << 20}})
    assert one(frames, "end")["exc"] == "MemoryError"


@pytest.mark.parametrize(
    ("own", "code", "text"),
    [
        ({"cwd": "/surely/not/there"}, "PD0106", "the folder /surely/not/there is not there"),
        ({"cwd": "/etc/passwd"}, "PD0702", "cannot enter the folder /etc/passwd: Not a directory"),
        ({"user": "surely-nobody"}, "PD0103", "there is no user `surely-nobody`"),
        ({"user": "4000000000"}, "PD0103", "there is no user `4000000000`"),
        ({"user": "9" * 30}, "PD0103", "there is no user"),
        ({"nice": "five"}, "PD0203", "`limits.nice` must be a whole number"),
        ({"umask": True}, "PD0203", "`limits.umask` must be a whole number"),
        ({"user": 1}, "PD0203", "`limits.user` must be a text"),
    ],
)
def test_what_cannot_be_applied_is_fatal_with_its_reason(tmp_path, own, code, text):
    assert fatal_of(script(tmp_path, "pass"), **own)[0] == code
    assert text in fatal_of(script(tmp_path, "pass"), **own)[1]


def as_nobody(core, code):
    """Runs a program of the package as another user, as it is for an agent that is not root."""
    become = f"import os; os.setgroups([]); os.setgid({NOBODY.pw_gid}); os.setuid({NOBODY.pw_uid});"
    told = subprocess.run([OPEN_PYTHON, "-c", become + code], cwd=core, capture_output=True, check=False)
    assert told.returncode == 0, told.stderr.decode()
    return told.stdout.decode().strip()


REFUSED = """
from pythond import limits, loader
try:
    limits.apply(limits.Limits({own}), [])
    print("applied")
except loader.Failure as failure:
    print(failure.frame["code"], failure.frame["msg"])
"""


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"user": "root"}, "PD0702 only root can run scripts as `root`"),
        ({"nice": -5}, "PD0702 `nice = -5` cannot be had"),
        ({"user": "nobody"}, "applied"),
        ({"nice": 19}, "applied"),
        ({"cwd": "{closed}"}, "PD0702 cannot enter the folder {closed}: Permission denied"),
    ],
)
def test_an_agent_that_is_not_root_is_told_what_it_cannot_have(open_core, open_folder, own, text):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    refused = REFUSED.replace("{own}", repr(own)).replace("{closed}", str(closed))
    assert as_nobody(open_core, refused).startswith(text.replace("{closed}", str(closed)))


@pytest.mark.usefixtures("as_root")
def test_a_lower_priority_than_asked_for_is_no_fault(open_core):
    assert as_nobody(open_core, "os.nice(10);" + REFUSED.replace("{own}", "{'nice': 5}")) == "applied"


@pytest.mark.usefixtures("as_root")
def test_another_user_has_its_groups_and_home_and_sees_itself(open_folder, open_core):
    path = script(open_folder, TELL)
    own = {"user": "nobody", "environment": ["HOME", "USER"], "processes": 512}
    facts = facts_of(path, **own)
    assert (facts["uid"], facts["gid"]) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert facts["groups"] == sorted(os.getgrouplist("nobody", NOBODY.pw_gid)), "none of root's groups is left"
    assert facts["env"][:2] == [NOBODY.pw_dir, "nobody"]
    assert facts["env"][2] == os.environ.get("LOGNAME"), "what the settings give stays"
    assert facts["environ"] > 0, "/proc/self can be read, which the kernel denies after a change of the user"
    assert facts["processes"][0] >= 512


@pytest.mark.usefixtures("as_root")
def test_another_user_is_still_bound_to_the_agent_and_cannot_go_back(open_folder, open_core):
    path = script(
        open_folder,
        "import ctypes\nsignal = ctypes.c_int()\nctypes.CDLL(None).prctl(2, ctypes.byref(signal))\n"
        "try:\n    os.setuid(0)\n    back = True\nexcept PermissionError:\n    back = False\n"
        "print(json.dumps([signal.value, back, open('/dev/stdout', 'w').writable()]))",
    )
    assert facts_of(path, user="nobody") == [signal.SIGKILL, False, True]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("closed", ["", "script.py"])
def test_a_script_that_the_user_cannot_read_is_named_with_the_closed_folder(open_folder, open_core, closed):
    inner = open_folder / "inner"
    inner.mkdir()
    path = script(inner, "pass")
    os.chmod(inner / closed, 0o700)
    code, text = fatal_of(path, user="nobody")
    assert code == "PD0702"
    why = "the file is not readable for it" if closed else f"it may not enter `{inner}`"
    assert text == f"user `nobody` cannot read `{path}`: {why}"


@pytest.mark.usefixtures("as_root")
def test_a_package_that_the_user_cannot_read_is_named(open_folder, open_core):
    os.chmod(open_core, 0o700)
    code, text = fatal_of(script(open_folder, "pass"), user="nobody")
    assert code == "PD0702"
    assert text == f"user `nobody` cannot read `{open_core}`: the file is not readable for it"


@pytest.mark.usefixtures("as_root")
def test_a_fork_bomb_of_another_user_ends_at_its_limit(open_folder, open_core):
    path = script(
        open_folder,
        """\
children = 0
try:
    for _ in range(2000):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        children += 1
except OSError:
    pass
print(json.dumps(children))
sys.stdout.flush()
os.killpg(0, 9)""",
    )
    with Worker(path, "once", spec={"limits": {"user": "nobody", "processes": 40}}) as worker:
        assert 1 <= int(worker.process.stdout.readline()) <= 40


def test_a_failure_is_the_one_that_frames_are_made_of():
    with pytest.raises(loader.Failure) as raised:
        limits.apply(limits.Limits({"cwd": "/surely/not/there"}), [])
    assert raised.value.frame["phase"] == "limits"
