"""The dialect in a worker of its own, against an agent that is played here."""

import json
import os

import pytest

import collectd_lab as lab
from support import Worker, jobs_of, one

PLUGIN = """
import collectd, os, time

def gauge(plugin, **named):
    collectd.Values(type="gauge", plugin=plugin, values=[1], **named).dispatch()

def read():
    gauge("read")
    pid = os.fork()
    if pid == 0:
        gauge("child")
        os._exit(0)
    os.waitpid(pid, 0)

def broken():
    gauge("before")
    raise RuntimeError("boom")

collectd.register_read(read, 0.05)
collectd.register_read(broken, 0.05, name="broken")
collectd.register_init(lambda: gauge("init"))
collectd.register_shutdown(lambda: gauge("shutdown"))
"""


@pytest.fixture
def start(tmp_path, agent):
    def start(source=PLUGIN, mode="worker", imports=("plug",), conf="", **more):
        (tmp_path / "plug.py").write_text(source)
        path = tmp_path / "collectd.conf"
        text = f'Hostname "web01"\nInterval 1\n{conf}LoadPlugin python\n<Plugin python>\n  ModulePath "{tmp_path}"\n'
        path.write_text(text + "".join(f'  Import "{name}"\n' for name in imports) + "</Plugin>\n")
        file = path if mode == "list" else tmp_path / "plug.py"
        spec = {
            "dialect": "collectd",
            "id": "collectd.plug",
            "input": "collectd",
            "module": "",
            "roots": [],
            "settings": {"config": str(path)},
            "isolation": "auto",
            "parts": None if mode == "list" else {"imports": list(imports)},
            **more,
        }
        return Worker(file, mode, agent=agent, spec=spec)

    return start


def test_a_callback_that_is_async_def_fails_visibly_for_collectd_awaits_nothing(start):
    plugin = "import collectd\nasync def read(): pass\ncollectd.register_read(read)\n"
    with start(plugin) as worker:
        end = worker.until("end")
    assert (end["ok"], end["exc"]) == (False, "TypeError")
    assert end["msg"].startswith("the callback is `async def`")


def measurements(agent):
    rows = [row for request in agent.requests if request.path == "/v1/rows" for row in json.loads(request.body)["rows"]]
    return [row["m"] for row in rows]


def test_a_listing_tells_units_files_and_folders(start, tmp_path):
    with start(mode="list") as worker:
        frames = worker.rest()
    (unit,) = one(frames, "units")["units"]
    assert (unit["id"], unit["file"]) == ("collectd.plug", str(tmp_path / "plug.py"))
    read = [frame for frame in frames if frame["t"] == "read"]
    files = [entry["file"] for frame in read for entry in frame["files"]]
    assert {str(tmp_path / "collectd.conf"), str(tmp_path / "plug.py")} <= set(files)
    assert str(tmp_path) in [looked["folder"] for frame in read for looked in frame["folders"]]


def test_it_runs_reports_and_ends_in_order(start, agent, tmp_path):
    with start() as worker:
        worker.until("ready")
        ends = {}
        while len(ends) < 2:
            end = worker.until("end")
            ends[end["i"]] = end
        worker.send(t="stop", grace_ms=10_000)
        frames = worker.rest()
        assert worker.status() == 0, frames
    good, bad = ends[0], ends[1]
    assert good["ok"] and good["points"] == 1
    assert not bad["ok"] and (bad["exc"], bad["msg"], bad["points"]) == ("RuntimeError", "boom", 1)
    assert bad["where"][0]["file"] == str(tmp_path / "plug.py")
    found = measurements(agent)
    assert found[0] == "init" and found[-1] == "shutdown"
    assert {"read", "child", "before"} <= set(found)


def test_its_jobs_and_files_are_told(start, tmp_path):
    with start() as worker:
        frames = worker.frames_until("ready") if hasattr(worker, "frames_until") else []
        while not frames or frames[-1]["t"] != "ready":
            frames.append(worker.frame())
        jobs = jobs_of(frames)
        assert [(job["key"], job["every"]) for job in jobs] == [("python.plug", 0.05), ("python.broken", 0.05)]
        loaded = [entry["file"] for frame in frames if frame["t"] == "loaded" for entry in frame["files"]]
        assert loaded == [str(tmp_path / "plug.py")]
        assert jobs[0]["line"] == 7


def test_a_failing_job_waits_all_of_its_doubled_interval(start):
    with start() as worker:
        worker.until("ready")
        every, waits = [], []
        while len(waits) < 5:
            frame = worker.frame()
            if frame["t"] == "jobs":
                every += [job["every"] for job in frame["set"] if job["key"] == "python.broken"]
            elif frame["t"] == "end" and frame["i"] == 1:
                waits.append(frame["next_ms"])
    assert every[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    # On a busy machine a run may take longer than the first intervals.
    assert all(wait > 0.6 * 1000 * interval for wait, interval in list(zip(waits, every))[3:]), (waits, every)


def test_a_stop_under_a_slow_writer_loses_nothing(start, tmp_path):
    source = """
import collectd, os, time
out = open(os.path.join(os.path.dirname(__file__), "written"), "a")
done = [0]
def write(values):
    time.sleep(0.02)
    out.write(values.type_instance + "\\n")
    out.flush()
def read():
    for _ in range(60):
        done[0] += 1
        collectd.Values(type="gauge", plugin="p", type_instance=str(done[0]), values=[1]).dispatch()
collectd.register_write(write)
collectd.register_read(read, 0.05)
collectd.register_shutdown(lambda: (out.write(f"dispatched {done[0]}\\n"), out.flush()))
"""
    with start(source) as worker:
        worker.until("end")
        worker.send(t="stop", grace_ms=30_000)
        worker.rest()
    *written, last = (tmp_path / "written").read_text().splitlines()
    assert last == f"dispatched {len(written)}"
    assert sorted(written, key=int) == [str(number + 1) for number in range(len(written))]


@pytest.mark.parametrize("mode", ["check", "worker"])
def test_a_plugin_that_cannot_run_is_told(mode, start, tmp_path):
    with start("import collectd\nprint 'x'\n", mode) as worker:
        frames = worker.rest()
    fatal = one(frames, "fatal")
    assert (fatal["code"], fatal["file"], fatal["line"]) == ("PD0201", str(tmp_path / "plug.py"), 2)
    assert "written for Python 2" in fatal["help"]


def test_the_sample_leaves_nothing_behind(monkeypatch, capfd):
    import sys
    import threading

    from pythond.dialects import Unit
    from pythond.dialects import collectd as dialect

    path, argv, threads = list(sys.path), list(sys.argv), threading.active_count()
    host = lab.Host()
    try:
        dialect.load(Unit("", dialect.SAMPLE, "sample"), host)
        host.jobs[0].run()
        assert [row.measurement for row in host.rows] == ["sample"]
        dialect.forget()
    finally:
        sys.path[:], sys.argv[:] = path, argv
        sys.modules.pop("sample", None)
    assert threading.active_count() == threads
    assert capfd.readouterr().err == ""
    assert os.path.isfile(dialect.SAMPLE)
