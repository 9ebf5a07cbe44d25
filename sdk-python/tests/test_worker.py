"""A worker from end to end: a process, its frames, and everything a script can do to it."""

import os
import signal
import socket
import sys
import types

import pytest

from support import FarEnd, Worker, answer, frames_of, one, read_request

HEAD = "import os, sys, threading, time, signal\nfrom datakit_framework import DataKitFramework\n"


def script(folder, run, interval="0.02", more=""):
    """Writes a script with one class whose `run` has the lines given."""
    body = "\n".join("        " + line for line in run.splitlines())
    path = folder / "script.py"
    path.write_text(f"{HEAD}class A(DataKitFramework):\n    interval = {interval}\n    def run(self):\n{body}\n{more}")
    return path


def ends(frames):
    return [frame for frame in frames if frame["t"] == "end"]


def test_a_worker_says_hello_ready_run_end_and_bye(tmp_path, agent):
    path = script(tmp_path, "self.feed_metric(measurement='m', fields={'a': 1})")
    with Worker(path, agent=agent) as worker:
        hello = worker.frame()
        assert (hello["t"], hello["v"], hello["pid"]) == ("hello", 1, worker.process.pid)
        assert hello["py"] == ".".join(map(str, sys.version_info[:3]))
        assert hello["exe"] == sys.executable
        job = {"i": 0, "u": 0, "key": "A", "title": "", "every": 0.02, "line": 3, "next_ms": 0}
        loaded = worker.frame()
        assert (loaded["t"], [entry["file"] for entry in loaded["files"]]) == ("loaded", [str(path)])
        assert worker.frame() == {"t": "jobs", "set": [job], "gone": [], "n": 3}
        assert worker.frame() == {"t": "ready", "n": 4}
        state = worker.frame()
        assert state == {"t": "job", "i": 0, "state": "ready", "why": "", "code": "", "next_ms": 0, "n": 5}
        for k in (1, 2, 3):
            assert worker.frame() == {"t": "run", "i": 0, "k": k, "n": 4 + 2 * k}
            end = worker.frame()
            assert (end["t"], end["k"], end["ok"]) == ("end", k, True)
            assert (end["reports"], end["points"], end["refused"], end["no_value"]) == (1, 1, 0, 0)
            assert 0 <= end["next_ms"] <= 20
        worker.send(t="stop", grace_ms=5000)
        assert worker.rest()[-1]["reason"] == "stop"
        assert worker.status() == 0
    assert agent.requests[0].headers["X-Pythond-Worker"] == "the-token"


def test_reports_go_over_the_unix_socket(tmp_path):
    import socket
    import threading

    from support import read_request

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    got = []

    def serve():
        peer, _ = listener.accept()
        with peer:
            for _ in range(2):
                got.append(read_request(peer))
                peer.sendall(answer())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    path = script(tmp_path, "self.feed_metric(measurement='m', fields={'a': 1})")
    frames, _ = frames_of(path, "once", spec={"socket": str(tmp_path / "s"), "times": 2})
    thread.join()
    listener.close()
    assert [end["points"] for end in ends(frames)] == [1, 1]
    assert len(got) == 2


def test_nothing_heavy_is_loaded_on_the_way(tmp_path, agent):
    path = script(
        tmp_path,
        "self.feed_metric(measurement='m', fields={'a': 1})\n"
        "heavy = 'http.client ssl requests inspect dataclasses email ctypes subprocess pickle'.split()\n"
        "assert not [name for name in heavy if name in sys.modules]",
    )
    # Without `site`, whose .pth files may load anything.
    with Worker(path, "once", agent=agent, env={"PYTHONNOUSERSITE": "1"}) as worker:
        frames = worker.rest()
    assert one(frames, "end")["ok"], frames


def test_refused_points_are_counted_and_said_with_the_line(tmp_path, agent):
    path = script(
        tmp_path,
        "self.report({'M': [{'measurement': 'm', 'fields': {'a': 1}}, {'measurement': '', 'fields': {}}]})\n"
        "self.feed_metric(measurement='m', fields={'a': object()})",
    )
    frames, _ = frames_of(path, "once", agent=agent)
    end = one(frames, "end")
    assert (end["reports"], end["points"], end["refused"]) == (1, 1, 2)
    by_agent, by_sdk = [frame for frame in frames if frame["t"] == "refused"]
    assert (by_agent["status"], by_agent["i"], by_agent["category"]) == (400, 0, "metric")
    assert '"accepted": 1' in by_agent["text"]
    caller = by_agent["caller"]
    assert (caller["file"], caller["line"], caller["func"]) == (str(path), 6, "run")
    assert caller["src"].strip().startswith("self.report(")
    assert (by_sdk["status"], by_sdk["caller"]["line"]) == (0, 7)


def test_an_agent_that_is_away_is_waited_for_no_longer_than_the_interval(tmp_path):
    frames, _ = frames_of(script(tmp_path, "assert self.feed_metric(measurement='m', fields={'a': 1}) == ''"), "once")
    assert one(frames, "end")["ok"]
    assert one(frames, "refused")["status"] == 0


def test_a_run_that_raises_has_its_frames_with_source_lines(tmp_path):
    path = script(
        tmp_path,
        "self.parse({'r_await': 'secret'})",
        more="    def parse(self, row):\n        return float(row['await'])\n",
    )
    frames, status = frames_of(path, "once", spec={"times": 2})
    end = ends(frames)[0]
    assert (end["ok"], end["exc"], end["msg"], status) == (False, "KeyError", "'await'", 0)
    assert [(one["line"], one["func"], one["src"]) for one in end["where"]] == [
        (8, "parse", "        return float(row['await'])"),
        (6, "run", "        self.parse({'r_await': 'secret'})"),
    ]
    assert all(one["file"] == str(path) for one in end["where"])
    if sys.version_info >= (3, 11):
        assert (end["where"][0]["col"], end["where"][0]["end_col"]) == (22, 34)
    assert end["hint"] == "`row` has the keys: 'r_await'"
    assert "return float(row['await'])" in end["tb"]
    assert "pythond/guard.py" not in end["tb"]
    assert "secret" not in end["hint"]
    assert len(ends(frames)) == 2


def test_source_lines_are_those_that_run_though_the_file_is_gone(tmp_path):
    path = script(tmp_path, "os.remove(__file__)\nraise ValueError(1)")
    frames, _ = frames_of(path, "once")
    assert one(frames, "end")["where"][0]["src"] == "        raise ValueError(1)"


@pytest.mark.parametrize(
    "statement, exc",
    [
        ("sys.exit(1)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("self.run()", "RecursionError"),
        ("raise type('E', (BaseException,), {'__str__': lambda self: 1 / 0})", "E"),
        ("raise ValueError('x' * 100000)", "ValueError"),
        ("raise ValueError('\\udc80')", "ValueError"),
        ("raise ValueError('\\u4e2d' * 60000) from KeyError('\\x01' * 60000)", "ValueError"),
    ],
)
def test_whatever_a_run_raises_the_next_run_comes(tmp_path, statement, exc):
    frames, status = frames_of(script(tmp_path, statement), "once", spec={"times": 2})
    assert [end["exc"] for end in ends(frames)] == [exc, exc]
    assert all(len(end["tb"].encode()) <= 8192 for end in ends(frames))
    assert (frames[-1]["t"], status) == ("bye", 0)


def test_several_classes_run_side_by_side(tmp_path, agent):
    path = tmp_path / "two.py"
    path.write_text(
        HEAD + "met = threading.Barrier(2)\n"
        "class A(DataKitFramework):\n    def run(self):\n        met.wait()\n"
        "        self.feed_metric(measurement='a', fields={'a': 1})\n"
        "class B(DataKitFramework):\n    def run(self):\n        met.wait()\n"
        "        for n in (1, 2): self.feed_metric(measurement='b', fields={'a': n})\n"
    )
    with Worker(path, agent=agent) as worker:
        found = sorted((end["i"], end["points"]) for end in (worker.until("end"), worker.until("end")))
        assert found == [(0, 1), (1, 2)]
        worker.send(t="stop", grace_ms=5000)
        assert worker.rest()[-1]["reason"] == "stop"
        assert worker.status() == 0


def test_one_class_runs_in_the_main_thread(tmp_path):
    path = script(tmp_path, "assert threading.current_thread() is threading.main_thread()\nsignal.alarm(0)")
    assert one(frames_of(path, "once")[0], "end")["ok"]


def test_once_runs_each_job_as_often_as_asked(tmp_path):
    path = tmp_path / "two.py"
    path.write_text(
        HEAD + "".join(f"class {c}(DataKitFramework):\n    interval=99\n    def run(self): pass\n" for c in "AB")
    )
    frames, status = frames_of(path, "once", spec={"times": 3})
    assert [(end["i"], end["k"]) for end in ends(frames)] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    assert (frames[-1]["reason"], status) == ("done", 0)


def test_check_makes_the_collector_and_does_not_run_it(tmp_path):
    path = script(tmp_path, "os._exit(9)", more="    def __init__(self): print('made')\n")
    with Worker(path, "check") as worker:
        kinds = [frame["t"] for frame in worker.rest()]
        assert worker.output()[0] == "made\n"
    assert kinds == ["hello", "loaded", "jobs", "ready", "bye"]


def test_run_now_runs_at_once(tmp_path):
    with Worker(script(tmp_path, "pass", interval="3600")) as worker:
        worker.until("end")
        worker.send(t="run_now", i=0)
        assert worker.until("run")["k"] == 2
        end = worker.until("end")
        assert 0 < end["next_ms"] <= 3600_000


def test_a_stop_lets_the_run_end(tmp_path):
    path = script(
        tmp_path,
        "print('in', flush=True)\npause.wait(0.3)\nprint('out')",
        more="pause = threading.Event()\n",
    )
    with Worker(path) as worker:
        worker.until("run")
        worker.send(t="stop", grace_ms=30000)
        kinds = [frame["t"] for frame in worker.rest()]
        assert kinds == ["end", "bye"]
        assert worker.output()[0] == "in\nout\n"
        assert worker.status() == 0


def test_a_stop_while_idle_ends_at_once_and_runs_atexit(tmp_path):
    path = script(tmp_path, "pass", interval="3600", more="import atexit\natexit.register(print, 'bye')\n")
    with Worker(path) as worker:
        worker.until("end")
        worker.send(t="stop", grace_ms=3600_000)
        assert worker.rest()[-1]["reason"] == "stop"
        assert worker.output()[0] == "bye\n"


@pytest.mark.parametrize("run", ["while True: pass", "threading.Event().wait()", "threading.Lock().acquire() and None"])
def test_a_run_that_does_not_end_is_left_behind_after_the_grace(tmp_path, run):
    with Worker(script(tmp_path, "print('in', flush=True)\n" + run, interval="3600")) as worker:
        worker.until("run")
        worker.send(t="stop", grace_ms=100)
        frames = worker.rest()
        assert frames[-1] == {"t": "bye", "reason": "stop", "n": frames[-1]["n"]}
        assert worker.status() == 0


def test_threads_that_a_script_leaves_running_do_not_keep_the_process(tmp_path):
    path = script(tmp_path, "threading.Thread(target=threading.Event().wait).start()", interval="3600")
    frames, status = frames_of(path, "once")
    assert (frames[-1]["t"], status) == ("bye", 0)


def test_sigterm_is_a_stop(tmp_path):
    with Worker(script(tmp_path, "pass", interval="3600")) as worker:
        worker.until("end")
        os.kill(worker.process.pid, signal.SIGTERM)
        assert worker.rest()[-1]["reason"] == "stop"
        assert worker.status() == 0


def test_sigterm_reaches_workers_with_several_classes(tmp_path):
    path = tmp_path / "two.py"
    path.write_text(
        HEAD + "".join(f"class {c}(DataKitFramework):\n    interval=3600\n    def run(self): pass\n" for c in "AB")
    )
    with Worker(path) as worker:
        worker.until("end")
        os.kill(worker.process.pid, signal.SIGTERM)
        assert worker.rest()[-1]["reason"] == "stop"


def test_sigterm_is_heard_while_the_script_is_in_c_code(tmp_path):
    # One call that lets other threads run but no handler written in Python.
    path = script(tmp_path, "import hashlib\nhashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)", interval="3600")
    with Worker(path) as worker:
        worker.until("run")
        os.kill(worker.process.pid, signal.SIGTERM)
        assert worker.rest()[-1]["reason"] == "stop"


def test_sigterm_is_heard_after_a_run_with_an_event_loop(tmp_path):
    run = """import asyncio, hashlib
async def work():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
if hasattr(sys, 'second'):
    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)
asyncio.run(work())
sys.second = True"""
    with Worker(script(tmp_path, run)) as worker:
        worker.until("end")
        worker.until("run")
        os.kill(worker.process.pid, signal.SIGTERM)
        assert worker.rest()[-1]["reason"] == "stop"


@pytest.mark.parametrize(("interval", "stays"), [("3600", False), ("0.5", True)])
def test_the_connection_is_closed_for_a_long_rest_and_kept_for_a_short_one(tmp_path, interval, stays):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        agent = types.SimpleNamespace(address=listener.getsockname())
        path = script(tmp_path, "self.feed_metric(measurement='m', fields={'v': 1})", interval=interval)
        with Worker(path, agent=agent) as worker:
            peer, _ = listener.accept()
            with peer:
                read_request(peer)
                peer.sendall(answer(200, b"{}"))
                worker.until("end")
                assert bool(peer.recv(1)) == stays
            worker.send(t="stop", grace_ms=100)


def test_a_signal_of_the_script_itself_is_no_stop(tmp_path):
    path = script(tmp_path, "signal.signal(signal.SIGUSR1, lambda *_: None)\nos.kill(os.getpid(), signal.SIGUSR1)")
    with Worker(path, mode="once", spec={"times": 3}) as worker:
        assert worker.rest()[-1]["reason"] == "done"


@pytest.mark.parametrize("run", ["pass", "threading.Event().wait()"])
def test_the_end_of_the_agent_is_the_end_of_the_worker(tmp_path, run):
    with Worker(script(tmp_path, run, interval="3600")) as worker:
        worker.until("run")
        worker.control.close()
        assert worker.status() == 0


@pytest.mark.parametrize("run", ["while True: pass", "sum(range(10**12))", "threading.Event().wait()"])
def test_a_hung_run_shows_its_stack_on_sigusr2(tmp_path, run):
    with Worker(script(tmp_path, "print('in', flush=True)\n" + run)) as worker:
        assert worker.process.stdout.readline() == b"in\n"
        os.kill(worker.process.pid, signal.SIGUSR2)
        worker.trace_until(b'script.py", line ')


def test_a_dump_frame_shows_the_stacks(tmp_path):
    with Worker(script(tmp_path, "print('in', flush=True)\nthreading.Event().wait()")) as worker:
        assert worker.process.stdout.readline() == b"in\n"
        worker.send(t="dump")
        worker.trace_until(b'script.py", line ')


def test_a_crash_in_c_code_leaves_its_stack_on_the_trace_pipe(tmp_path):
    with Worker(script(tmp_path, "import ctypes\nctypes.string_at(0)")) as worker:
        worker.until("run")
        assert "Segmentation fault" in worker.trace_until(b"script.py")
        assert worker.status() == -signal.SIGSEGV


def test_prints_come_line_by_line_and_in_utf_8(tmp_path):
    path = script(tmp_path, "print('caf\\u00e9 \\udc80')\nprint('error', file=sys.stderr)\nos._exit(5)")
    with Worker(path, env={"LANG": "C", "PYTHONUTF8": "0"}) as worker:
        worker.rest()
        assert worker.output() == ("café \\udc80\n", "error\n")
        assert worker.status() == 5


@pytest.mark.parametrize(
    "closing",
    [
        "os.close(1)",
        "os.close(0); os.close(1); os.close(2)",
        "sys.stdout.close(); sys.stderr.close()",
        "import io; io.TextIOWrapper(sys.stdout.buffer).close()",
        "os.closerange(0, 50)",
    ],
)
def test_a_script_that_closes_its_streams_does_not_break_its_next_run(tmp_path, closing):
    path = script(
        tmp_path,
        "global ran\nprint('a')\n"
        f"if not ran:\n    ran = True\n    {closing}\n"
        "else:\n    assert open(__file__).fileno() > 2\nprint('b')",
        more="ran = False\n",
    )
    frames, _ = frames_of(path, "once", spec={"times": 3})
    assert [end["ok"] for end in ends(frames)] == [True] * 3, frames


def test_prints_without_a_reader_do_not_raise(tmp_path):
    with Worker(script(tmp_path, "print('x' * 100)\nsys.stdout.flush()")) as worker:
        worker.until("ready")
        worker.process.stdout.close()
        worker.process.stderr.close()
        worker.process.stdout = worker.process.stderr = None
        assert [worker.until("end")["ok"] for _ in range(5)] == [True] * 5


def test_a_forked_child_does_not_become_a_second_worker(tmp_path):
    # A child that went on as a worker would wait for its next run, and its parent for it.
    path = script(
        tmp_path, "pid = os.fork()\nif pid: assert os.waitpid(pid, 0)[1] == 0\nelse: print('child')", interval="3600"
    )
    with Worker(path) as worker:
        kinds = ["hello", "loaded", "jobs", "ready", "job", "run", "end"]
        assert [worker.frame()["t"] for _ in kinds] == kinds
        worker.send(t="stop", grace_ms=5000)
        assert worker.rest()[-1]["n"] == 8
        assert worker.output()[0] == "child\n"


def test_a_sigterm_for_a_forked_child_is_not_one_for_the_worker(tmp_path):
    path = script(
        tmp_path,
        "import multiprocessing\nchild = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))\n"
        "child.start()\nchild.terminate()\nchild.join()\nassert child.exitcode == -signal.SIGTERM, child.exitcode",
    )
    frames, _ = frames_of(path, "once", spec={"times": 2})
    assert [end["ok"] for end in ends(frames)] == [True, True], frames


def test_an_exception_in_a_thread_of_the_script_is_said(tmp_path):
    path = script(tmp_path, "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()")
    warning = one(frames_of(path, "once")[0], "warn")
    assert (warning["code"], warning["line"]) == ("PD0310", 6)
    assert "ZeroDivisionError" in warning["msg"]


def test_the_control_descriptors_are_out_of_reach_of_child_processes(tmp_path):
    path = script(
        tmp_path,
        "import subprocess\n"
        "names = subprocess.run(['ls', '/proc/self/fd'], stdout=subprocess.PIPE, close_fds=False).stdout.split()\n"
        "assert all(int(name) < 100 for name in names), names\n"
        "assert 'PYTHOND_CONTROL_FD' not in os.environ",
    )
    assert one(frames_of(path, "once")[0], "end")["ok"]


def test_the_settings_of_the_input_reach_the_collector(tmp_path):
    path = script(tmp_path, "assert self.config == {'a': [1]}, self.config\nassert self.log_name == 'some-input'")
    assert one(frames_of(path, "once", spec={"config": {"a": [1]}})[0], "end")["ok"]


def test_the_log_of_the_sdk_goes_to_stderr_and_opens_no_file(tmp_path):
    path = script(
        tmp_path,
        "self.log.warning('careful')\nimport datakit_framework\ndatakit_framework.mylog('hello')",
    )
    with Worker(path, "once", env={"HOME": str(tmp_path)}) as worker:
        worker.rest()
        assert worker.output() == ("", "WARNING careful\nINFO hello\n")
    assert [name for name in os.listdir(tmp_path) if name.endswith(".log")] == []


@pytest.mark.parametrize(
    "spec, text",
    [
        ({"v": 2}, "version 1"),
        ({"mode": "dance"}, "`mode` is `dance`"),
        ({"dialect": "klingon"}, "`dialect` is `klingon`"),
        ({"file": 7}, "`file` must be a text"),
        ({"settings": []}, "`settings` must be an object"),
        ({"phase": "x"}, "`phase` must be a number"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_with_the_reason(tmp_path, spec, text):
    frames, status = frames_of(script(tmp_path, "pass"), "worker", spec=spec)
    fatal = one(frames, "fatal")
    assert (fatal["phase"], status) == ("spec", 1)
    assert text in fatal["msg"]


def test_started_by_hand_it_says_what_to_type():
    import subprocess

    from support import CORE

    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHOND_")}
    done = subprocess.run([sys.executable, os.path.join(CORE, "pythond")], env=env, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert b"pythond run FILE" in done.stderr


def test_a_frame_that_is_too_large_loses_its_least_needed_parts():
    from pythond.control import MAX_FRAME, encode

    data = encode({"t": "end", "tb": "\x01" * 8000, "where": [{"src": "\x01" * 20000}], "msg": "m", "n": 7})
    assert len(data) <= MAX_FRAME
    assert b'"n":7' in data and b'"msg":"m"' in data and b'"where":[]' in data


def test_a_report_during_a_stop_gets_one_last_try(tmp_path):
    with FarEnd([answer(503, b"", "Retry-After: 3000"), answer()]) as far:
        path = script(tmp_path, "self.feed_metric(measurement='m', fields={'a': 1})", interval="86400")

        class Address:
            address = far.address

        with Worker(path, agent=Address) as worker:
            worker.until("run")
            while not far.requests:
                assert worker.process.poll() is None
            worker.send(t="stop", grace_ms=60000)
            assert worker.until("end")["points"] == 1
    assert len(far.requests) == 2
