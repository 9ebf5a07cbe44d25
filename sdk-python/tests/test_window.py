"""The window of dialects, through a worker: a dialect whose units say themselves what is done (`support.PROBE`)."""

import json
import textwrap

import pytest

from pythond.testing import Answer
from support import FarEnd, Worker, answer, frames_of, jobs_of, one

HEAD = """\
import os, sys, threading, time
from pythond.dialects import Fault, Job, Listing, NotRunnable, NotYet, ToldUnit
from pythond.loader import Failure
from pythond.rows import Reading, Row
class J(Job):
    every = 3600.0
    def __init__(self, key="a", run=None, **more):
        self.key = key
        self.do = run or (lambda job: None)
        for name, value in more.items():
            setattr(self, name, value)
    def run(self):
        return self.do(self)
"""


@pytest.fixture
def unit(core, tmp_path):
    """Starts a worker whose unit is the Python text given; or returns its frames, where it ends by itself."""

    def start(text, mode="worker", **more):
        path = tmp_path / "unit.py"
        path.write_text(HEAD + textwrap.dedent(text))
        given = {"mode": mode, "core": core, **more}
        given["spec"] = {"dialect": "probe", "id": "in.unit", "input": "in", **more.get("spec", {})}
        if mode == "worker":
            return Worker(path, **given)
        frames, status = frames_of(path, **given)
        assert status == (1 if frames[-2]["t"] == "fatal" else 0), frames
        return frames

    return start


def stopped(worker):
    worker.send(t="stop", grace_ms=30000)
    return worker.rest()


def ends(frames):
    return [(end["i"], end["k"], end["ok"]) for end in frames if end["t"] == "end"]


# --- jobs come and go ---


def test_a_job_may_be_added_and_dropped_at_any_time_and_has_a_number_of_its_own(unit):
    text = """
    def load(unit, host):
        def first(job):
            second = J("b", lambda job: host.drop(job), title="the second", line=7)
            second.stop = lambda: print("stopped", threading.current_thread().name, flush=True)
            host.add(second)
        host.add(J("a", first))
    """
    with unit(text) as worker:
        assert [(job["i"], job["key"]) for job in worker.until("jobs")["set"]] == [(0, "a")]
        assert worker.until("job")["state"] == "ready"
        (job,) = worker.until("jobs")["set"]
        assert job == {"i": 1, "u": 0, "key": "b", "title": "the second", "every": 3600.0, "line": 7, "next_ms": 0}
        while worker.until("end")["i"] != 1:
            pass
        frame = worker.until("jobs")
        assert (frame["set"], frame["gone"]) == ([], [1]), "its last run is told before"
        worker.send(t="run_now", i=0)
        assert worker.until("jobs")["set"][0]["i"] == 2, "a number is never used twice"
        assert worker.until("jobs")["gone"] == [2]
        stopped(worker)
        assert worker.output()[0] == "stopped the second\n" * 2


def test_a_job_that_waits_can_be_dropped(unit):
    text = """
    class Waits(J):
        def check(self):
            raise NotRunnable("no")
    def load(unit, host):
        waits = Waits("w")
        host.add(waits)
        host.add(J("a", lambda job: host.drop(waits)))
    """
    with unit(text) as worker:
        gone = []
        while not gone:
            gone = worker.until("jobs")["gone"]
        assert gone == [0]
        stopped(worker)


def test_a_worker_without_a_job_waits_for_one(unit):
    text = """
    def load(unit, host):
        def later():
            wait.wait()
            host.add(J("late", lambda job: print(threading.current_thread() is threading.main_thread(), flush=True)))
        wait = threading.Event()
        threading.Timer(0.05, wait.set).start()
        threading.Thread(target=later, daemon=True).start()
    """
    with unit(text) as worker:
        worker.until("ready")
        assert worker.until("jobs")["set"][0]["key"] == "late"
        assert worker.until("end")["ok"]
        stopped(worker)
        assert worker.output()[0] == "True\n", "it is alone"


def test_one_job_alone_has_the_main_thread_and_several_have_one_each(unit):
    text = """
    class Names(J):
        def check(self):
            print(self.key, threading.current_thread().name, flush=True)
        def run(self):
            self.check()
            if self.more:
                self.host.add(Names("c", more=0))
    def load(unit, host):
        for key in unit.parts["keys"]:
            host.add(Names(key, more=unit.parts["more"], host=host))
    """
    for parts, said in (
        ({"keys": ["a"], "more": 1}, "a MainThread,a MainThread,c c,c c"),
        ({"keys": ["a", "b"], "more": 0}, "a a,a a,b b,b b"),
    ):
        with unit(text, spec={"parts": parts}) as worker:
            worker.until("end"), worker.until("end")
            stopped(worker)
            assert sorted(worker.output()[0].split("\n"))[1:] == said.split(",")


def test_a_job_without_a_thread_is_told(unit):
    text = """
    def load(unit, host):
        def first(job):
            start, threading.Thread.start = threading.Thread.start, refuse
            host.add(other)
            threading.Thread.start = start
        def refuse(thread):
            raise RuntimeError("can't start new thread")
        other = J("b", lambda job: host.drop(job))
        host.add(J("a", first))
    """
    with unit(text) as worker:
        assert worker.until("job")["state"] == "ready"
        state = worker.until("job")
        assert (state["i"], state["state"]) == (1, "stopped")
        assert state["why"] == "no thread can be started for it: can't start new thread"
        stopped(worker)


def test_what_a_unit_added_before_its_load_failed_does_not_run(unit):
    text = """
    def load(unit, host):
        host.add(J("a"))
        raise KeyError("host")
    """
    frames = unit(text, "check")
    fatal = one(frames, "fatal")
    assert (fatal["phase"], fatal["code"], fatal["exc"], fatal["permanent"]) == ("load", "PD0203", "KeyError", False)
    assert fatal["src"].strip() == 'raise KeyError("host")'
    assert jobs_of(frames) == []


# --- checks ---

COUNTS = """
class Checks(J):
    tries = 0
    def check(self):
        self.tries += 1
        if self.tries < 3:
            {}
def load(unit, host):
    host.add(Checks("a"))
"""


def test_a_job_that_cannot_run_yet_is_checked_again_after_its_time(unit):
    with unit(COUNTS.format("raise NotYet(f'try {self.tries} found nothing', 0.05)")) as worker:
        worker.until("ready")
        for number in (1, 2):
            state = worker.frame()
            why = f"try {number} found nothing"
            assert (state["t"], state["state"], state["why"], state["next_ms"]) == ("job", "waiting", why, 50)
        assert worker.frame()["state"] == "ready"
        assert worker.frame()["t"] == "run"
        assert ends([worker.frame()]) == [(0, 1, True)]
        stopped(worker)


@pytest.mark.parametrize("order", [{"t": "recheck"}, {"t": "run_now", "i": 0}])
def test_a_job_that_cannot_run_waits_until_somebody_asks(unit, order):
    with unit(COUNTS.format("raise NotRunnable('no password')")) as worker:
        for _ in range(2):
            state = worker.until("job")
            assert (state["state"], state["why"], state["next_ms"]) == ("waiting", "no password", 0)
            worker.send(**order)
        assert worker.until("job")["state"] == "ready"
        assert worker.until("end")["ok"]
        worker.send(t="recheck")
        worker.send(t="run_now", i=0)
        assert worker.until("end")["k"] == 2, "who is ready is not checked again"
        stopped(worker)


def test_a_check_that_raises_is_a_failed_run_and_is_repeated(unit):
    with unit(COUNTS.format("raise OSError('no route')").replace('"a"', '"a", every=0.02')) as worker:
        worker.until("ready")
        for number, pause in ((1, 20), (2, 40)):
            assert worker.frame() == {"t": "run", "i": 0, "k": number, "n": 2 + 2 * number + 1}
            end = worker.frame()
            assert (end["ok"], end["exc"], end["msg"], end["next_ms"]) == (False, "OSError", "no route", pause)
            assert end["where"][0]["func"] == "check" and "Traceback" in end["tb"]
        assert worker.frame()["state"] == "ready"
        assert worker.until("end")["k"] == 3
        stopped(worker)


# --- schedule ---


def test_a_number_that_a_run_returns_is_the_pause_to_the_next(unit):
    text = """
    answers = iter([0.01, 0, True, None])
    def load(unit, host):
        host.add(J("a", lambda job: next(answers)))
    """
    with unit(text) as worker:
        assert [worker.until("end")["next_ms"] for _ in range(2)] == [10, 0], "from the end of the run on"
        assert 3_590_000 < worker.until("end")["next_ms"] <= 3_600_000, "True is no number of seconds"
        stopped(worker)


def test_a_changed_interval_counts_from_the_next_slot_and_is_told(unit):
    text = """
    def load(unit, host):
        def change(job):
            job.every = next(values)
        values = iter([0.05, 0.05, -1, 7200])
        host.add(J("a", change))
    """
    with unit(text) as worker:
        worker.until("ready")
        (job,) = worker.until("jobs")["set"]
        end = worker.frame()
        assert (job["i"], job["every"], end["t"]) == (0, 0.05, "end")
        assert 0 < end["next_ms"] <= 50 and job["next_ms"] == end["next_ms"]
        for _ in range(2):  # the second is none, and that of before stays
            assert [worker.frame()["t"] for _ in range(2)] == ["run", "end"]
        assert worker.until("jobs")["set"][0]["every"] == 7200
        stopped(worker)


# --- once, the end ---


def test_once_leaves_out_what_cannot_run_and_runs_what_comes(unit):
    text = """
    class Bad(J):
        def check(self):
            raise self.error
    def load(unit, host):
        host.add(Bad("waits", error=NotYet("not yet", 1)))
        host.add(Bad("fails", error=ValueError("x")))
        host.add(J("adds", lambda job: host.add(J("new"))))
    """
    frames = unit(text, "once")
    assert ends(frames) == [(1, 1, False), (2, 1, True), (3, 1, True)]
    states = {frame["i"]: frame["state"] for frame in frames if frame["t"] == "job"}
    assert states == {0: "waiting", 2: "ready", 3: "ready"}
    assert [job["key"] for job in jobs_of(frames)] == ["waits", "fails", "adds", "new"]


def test_once_stops_what_drops_itself_and_runs_it_no_more(unit, agent):
    text = """
    def load(unit, host):
        def last(job):
            host.drop(job)
            host.put(job, [Row("m", {}, [Reading("a", 1)])])
        host.add(J("a", last, every=0.01, stop=lambda: print("stop", flush=True)))
    """
    with unit(text, "worker", agent=agent, spec={"mode": "once", "times": 3}) as worker:
        end = one(worker.rest(), "end")
        assert (end["k"], end["points"], worker.output()[0]) == (1, 1, "stop\n")


def test_once_gives_rates_the_time_they_need(unit, agent):
    text = """
    times = []
    def load(unit, host):
        def put(job):
            times.append(time.monotonic())
            host.put(job, [Row("m", {}, [Reading("a", 1, kind="counter")])])
        host.add(J("a", put, every=0.2))
    def close(host):
        print(times[1] - times[0] >= 0.2, flush=True)
    """
    frames = unit(text, "once", agent=agent, spec={"times": 2})
    assert ends(frames) == [(0, 1, True), (0, 2, True)]
    assert len(agent.rows) == 2


def test_at_the_end_jobs_stop_then_the_dialect_closes_then_atexit_runs(unit):
    text = """
    import atexit
    def load(unit, host):
        atexit.register(print, "atexit", flush=True)
        for key in "ab":
            host.add(J(key, stop=lambda key=key: print("stop", flush=True)))
        host.add(J("bad", stop=lambda: 1 / 0))
    def close(host):
        print("close", host.id, flush=True)
    """
    with unit(text) as worker:
        for _ in range(3):
            worker.until("end")
        assert stopped(worker)[-1]["reason"] == "stop"
        out, err = worker.output()
        assert out == "stop\nstop\nclose in.unit\natexit\n"
        assert "`stop` of the job `bad` failed:" in err and "ZeroDivisionError" in err


# --- the host ---


def test_a_dialect_sees_what_the_agent_says_of_its_input(unit):
    text = """
    import json
    def load(unit, host):
        names = ("id", "input", "settings", "config", "state_dir", "hostname", "interval", "isolation")
        print(json.dumps([[getattr(host, name) for name in names], unit.id, unit.parts]), flush=True)
    """
    spec = {"settings": {"recheck": 60.0}, "config": {"a": 1}, "state_dir": "/s", "hostname": "web01", "interval": 7.5}
    with unit(text, spec={**spec, "isolation": "job", "parts": {"job": "tcp"}}) as worker:
        worker.until("ready")
        stopped(worker)
        said = json.loads(worker.output()[0])
    values = ["in.unit", "in", {"recheck": 60.0}, {"a": 1}, "/s", "web01", 7.5, "job"]
    assert said == [values, "in.unit", {"job": "tcp"}]


PUTS = """
def load(unit, host):
    def put(job):
        rows = [Row("cpu", {"core": "0"}, [Reading("user", 12.5)], 17), Row("cpu", {"core": "1"}, [])]
        answer = host.put(job, rows)
        print(answer.status, answer.accepted, answer.refused, answer.no_value, answer.ok, flush=True)
    host.add(J("a", put, every=0.2))
"""


def test_rows_are_posted_with_their_job_and_counted_by_the_answer(unit, agent):
    agent.answers.append(Answer(200, '{"accepted":1,"no_value":1,"resets":0}'))
    end = one(unit(PUTS, "once", agent=agent), "end")
    assert (end["reports"], end["points"], end["refused"], end["no_value"]) == (1, 1, 0, 1)
    (request,) = agent.requests
    assert (request.method, request.path, request.headers["X-Pythond-Worker"]) == ("POST", "/v1/rows", "the-token")
    body = json.loads(request.body)
    first = {"m": "cpu", "t": {"core": "0"}, "ns": 17, "r": [["user", 12.5]]}
    assert (body["job"], body["interval"], body["rows"][0]) == ("a", 0.2, first)


def test_refused_rows_are_told_with_the_line_that_put_them(unit, agent, tmp_path):
    agent.answers.append(
        Answer(400, '{"accepted":1,"refused_count":1,"refused":[{"index":1,"field":"","reason":"no readings"}]}')
    )
    frames = unit(PUTS, "once", agent=agent)
    end, refused = one(frames, "end"), one(frames, "refused")
    assert (end["reports"], end["points"], end["refused"]) == (0, 1, 1)
    assert (refused["u"], refused["i"], refused["category"], refused["status"]) == (0, 0, "metric", 400)
    assert refused["caller"]["src"].strip() == "answer = host.put(job, rows)"


def test_rows_that_find_no_agent_are_refused_all(unit):
    frames = unit(PUTS, "once")
    assert (one(frames, "end")["refused"], one(frames, "refused")["status"]) == (2, 0)


def test_rows_wait_for_an_agent_that_is_busy(unit):
    with FarEnd([answer(503, b"", "Retry-After: 0"), answer(200, b'{"accepted":2}')]) as far:

        class Address:
            address = far.address

        assert one(unit(PUTS, "once", agent=Address), "end")["points"] == 2


def test_points_are_posted_as_they_are(unit, agent):
    text = """
    def load(unit, host):
        def post(job):
            lines = b"m a=1\\nm a=2\\n"
            answer = host.post(job, "metric", lines, "text/plain", query="precision=s")
            assert (answer.ok, answer.accepted) == (True, 2)
            host.post(None, "keyevent", b'[{"measurement": "e", "fields": {}}]')
            assert host.post(job, "/v1/ping", b"", "", "GET").accepted == 0
        host.add(J("a", post))
    """
    frames = unit(text, "once", agent=agent)
    end = one(frames, "end")
    assert (end["ok"], end["reports"], end["points"], end["refused"]) == (True, 1, 2, 0), end
    assert [(request.method, request.path) for request in agent.requests] == [
        ("POST", "/v1/write/metric?precision=s"),
        ("POST", "/v1/write/keyevent"),
        ("GET", "/v1/ping"),
    ]
    assert one(frames, "refused")["i"] is None, "the event is none, and nobody's job"


def test_a_warning_has_its_place_and_comes_once(unit):
    text = """
    def load(unit, host):
        for _ in range(3):
            host.warn("PD0802", "taken as 5", "/etc/x.conf", 3, 9)
        host.warn("PD0802", "taken as 5", "/etc/x.conf", 4)
    """
    warnings = [frame for frame in unit(text, "check") if frame["t"] == "warn"]
    assert [frame["line"] for frame in warnings] == [3, 4]
    place = {"file": "/etc/x.conf", "line": 3, "col": 9, "severity": "warning"}
    assert warnings[0] == {"t": "warn", "u": 0, "code": "PD0802", "msg": "taken as 5", **place, "n": warnings[0]["n"]}


def test_units_of_one_worker_report_as_themselves(core, tmp_path, agent):
    text = """
    def load(unit, host):
        host.warn("PD0802", unit.parts)
        def put(job):
            host.put(job, [Row(unit.parts, {}, [Reading("a", 1)])])
        host.add(J("a", put))
    def close(host):
        print("close", host.id, flush=True)
    """
    path = tmp_path / "unit.py"
    path.write_text(HEAD + textwrap.dedent(text))
    spec = {"dialect": "probe", "several": 2}
    with Worker(path, "once", agent=agent, spec=spec, core=core) as worker:
        for name in "xy":
            unit = {"id": f"in.{name}", "file": str(path), "module": "unit", "token": name, "must": True}
            worker.send(t="units", units=[{**unit, "parts": name}])
        frames = worker.rest()
        assert worker.output()[0] == "close in.x\nclose in.y\n"
    assert [(job["i"], job["u"]) for job in jobs_of(frames)] == [(0, 0), (1, 1)]
    assert [(frame["u"], frame["msg"]) for frame in frames if frame["t"] == "warn"] == [(0, "x"), (1, "y")]
    posted = [(request.headers["X-Pythond-Worker"], json.loads(request.body)) for request in agent.requests]
    assert [(token, body["rows"][0]["m"]) for token, body in posted] == [("x", "x"), ("y", "y")]


# --- settings files ---

READS = """
def load(unit, host):
    def read(job):
        names = host.looks(unit.parts)
        print(names, [host.reads(os.path.join(unit.parts, name)).decode() for name in names], flush=True)
    host.add(J("a", read))
"""


def read_of(frames):
    read = [frame for frame in frames if frame["t"] == "read"]
    files = {entry["file"]: entry["sum"] for frame in read for entry in frame["files"]}
    return files, [one["folder"] for frame in read for one in frame["folders"]]


def sum_of(text):
    from pythond.sources import sum_of

    return sum_of(text.encode())


def test_settings_files_are_told_with_their_hash_and_again_when_they_changed(unit, tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "x").write_text("one")
    with unit(READS, spec={"parts": str(folder)}) as worker:
        path = str(folder / "x")
        assert read_of([worker.until("read"), worker.until("read")]) == ({path: sum_of("one")}, [str(folder)])
        worker.until("end")
        (folder / "x").write_text("two")
        worker.send(t="run_now", i=0)
        assert worker.until("read")["files"] == [{"file": path, "sum": sum_of("two")}]
        worker.send(t="run_now", i=0)
        worker.until("end"), worker.until("end")
        assert "read" not in [frame["t"] for frame in stopped(worker)]


def test_the_last_good_version_reads_what_there_was(unit, tmp_path):
    folder, kept = tmp_path / "conf", tmp_path / "kept"
    folder.mkdir(), kept.mkdir()
    (folder / "x").write_text("broken")
    (folder / "new").write_text("n")
    files = []
    for name in ("x", "gone"):
        (kept / name).write_text(f"good {name}")
        files.append({"file": str(folder / name), "sum": "-", "name": "", "package": False, "copy": name})
    (kept / "m.json").write_text(json.dumps({"files": files}))
    frames = unit(READS, "once", spec={"parts": str(folder), "kept": str(kept / "m.json")})
    assert one(frames, "end")["ok"], frames
    assert read_of(frames)[0] == {
        str(folder / "gone"): sum_of("good gone"),
        str(folder / "new"): sum_of("n"),
        str(folder / "x"): sum_of("good x"),
    }


def test_a_missing_folder_is_empty_and_watched_and_a_missing_file_raises(unit, tmp_path):
    text = """
    def load(unit, host):
        assert host.looks(unit.parts) == []
        try:
            host.reads(unit.parts)
        except OSError:
            host.add(J("a"))
    """
    frames = unit(text, "check", spec={"parts": str(tmp_path / "no")})
    assert (read_of(frames), len(jobs_of(frames))) == (({}, [str(tmp_path / "no")]), 1)


def test_more_settings_files_than_are_watched_are_said(unit, tmp_path):
    for number in range(1100):
        (tmp_path / f"{number}.conf").touch()
    text = """
    def load(unit, host):
        for name in host.looks(unit.parts):
            if name.endswith(".conf"):
                host.reads(os.path.join(unit.parts, name))
    """
    frames = unit(text, "check", spec={"parts": str(tmp_path)})
    assert len(read_of(frames)[0]) == 1000
    assert one(frames, "warn")["code"] == "PD0214"


# --- listing ---


def test_a_listing_is_told_whole_in_as_many_frames_as_it_takes(unit):
    text = """
    def list(given, host):
        units = [ToldUnit(f"u{n}", "x" * 100, "/f", n, ["/f"], {"n": n}, "p", True, 5) for n in range(2000)]
        return Listing(units, [Fault("PD0801", "bad", "/f", 3, 4, "warning", "src", "help")])
    """
    frames = unit(text, "list")
    told = [one for frame in frames if frame["t"] == "units" for one in frame["units"]]
    assert [one["id"] for one in told] == [f"u{n}" for n in range(2000)]
    assert {**told[7], "title": ""} == {
        "id": "u7", "title": "", "file": "/f", "line": 7, "reads": ["/f"], "parts": {"n": 7}, "process": "p",
        "quiet": True, "every": 5.0,
    }  # fmt: skip
    fault = one(frames, "fault")
    assert {key: fault[key] for key in ("code", "msg", "file", "line", "col", "severity", "src", "help")} == {
        "code": "PD0801", "msg": "bad", "file": "/f", "line": 3, "col": 4, "severity": "warning", "src": "src",
        "help": "help",
    }  # fmt: skip
    assert [frame["t"] for frame in frames[-2:]] == ["listed", "bye"]
    assert [frame["n"] for frame in frames] == list(range(1, len(frames) + 1))


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ('raise Failure("list", "PD0106", "E", "no module ngnix", True)', "PD0106", "no module ngnix"),
        ("raise KeyError('x')", "PD0203", "'x'"),
        ('return Listing([ToldUnit("big", "t", "/f", parts="x" * 70000)])', "PD0203", "the unit big takes more than"),
    ],
)
def test_what_cannot_be_listed_is_a_failure(unit, body, code, text):
    frames = unit(f"def list(given, host):\n    host.reads(__file__)\n    {body}\n", "list")
    fatal = one(frames, "fatal")
    assert (fatal["phase"], fatal["code"]) == ("list", code)
    assert text in fatal["msg"]
    assert read_of(frames)[0], "a change of what was read may cure it"
    assert "listed" not in [frame["t"] for frame in frames]


# --- the path ---


def test_what_a_dialect_puts_last_loses_and_what_it_puts_first_wins(tmp_path, monkeypatch):
    import sys

    from pythond import loader

    monkeypatch.setattr(sys, "path", ["/first", "/last", "/site", *sys.path])
    loader.arrange_path(["/first"], ["/root"], ["/last"])
    assert sys.path[:2] == [loader.CORE, "/first"]
    assert sys.path.index("/root") < sys.path.index("/site") < sys.path.index("/last") == len(sys.path) - 1


def test_a_dialect_that_cannot_be_imported_says_why(core, tmp_path):
    import os

    folder = os.path.join(core, "pythond", "dialects", "broken")
    os.mkdir(folder)
    with open(os.path.join(folder, "__init__.py"), "w") as file:
        file.write("import not_there\n")
    frames, _ = frames_of(tmp_path / "x", "check", spec={"dialect": "broken"}, core=core)
    assert "the dialect `broken` cannot be imported: No module named 'not_there'" in one(frames, "fatal")["msg"]
