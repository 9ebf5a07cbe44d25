"""Whole plugins in workers of their own: the tutorial's listings, our own, and those of the original's package."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import pytest
from panoptes_support import CASES, SHARED, Host, blocks, checked, info, resource, tutorial, unit, write

from pythond.dialects import panoptes
from pythond.testing import FakeAgent
from support import Worker

FIELD = re.compile(r"[,=\s]")


class Input:
    """An input below a folder, its lister and its workers."""

    def __init__(self, folder, state, agent, **settings):
        self.folder = str(folder)
        self.agent = agent
        self.settings = settings
        self.state = str(state)

    def worker(self, mode, told=None, **more):
        told = told or {"id": "panoptes", "file": "", "parts": None}
        spec = {
            "dialect": "panoptes",
            "input": "panoptes",
            "module": "",
            "roots": [self.folder],
            "settings": self.settings,
            "state_dir": self.state,
            "id": told["id"],
            "parts": told["parts"],
            **more,
        }
        return Worker(told["file"], mode, agent=self.agent, spec=spec)

    def list(self):
        with self.worker("list") as worker:
            frames = worker.rest()
            assert worker.status() == 0, frames
        units = [one for frame in frames if frame["t"] == "units" for one in frame["units"]]
        return units, [frame for frame in frames if frame["t"] == "fault"]

    def once(self, told, **more):
        """Runs a unit by hand; returns its frames and what it printed."""
        with self.worker("once", told, **more) as worker:
            frames = worker.rest()
            printed = worker.output()
        return frames, printed


def lines_of(rows):
    """Rows as line protocol, without what only the agent can know: rates, its tag."""

    def escaped(text):
        return FIELD.sub(lambda found: "\\" + found[0], text)

    lines = []
    for row in rows:
        tags = {"host": "testhost", **row["t"]}
        fields = []
        for name, value, *options in row["r"]:
            raw = options[0]["raw"] if options and options[0].get("out") == "both" else name
            fields.append(f"{raw}={value!r}")
        head = ",".join([row["m"], *(f"{key}={escaped(tags[key])}" for key in sorted(tags))])
        lines.append(f"{head} {','.join(sorted(fields))} NOW")
    return sorted(lines)


@pytest.mark.parametrize("case", ["counters", "heartbeat"])
def test_a_case_gives_its_points(case, tmp_path):
    folder = tmp_path / "input"
    shutil.copytree(os.path.join(CASES, case), folder)
    settings = {one: [f"panoptes/{one}"] for one in ("polling", "discovery", "enrichment")}
    settings = {one: given for one, given in settings.items() if (folder / given[0]).is_dir()}
    if (folder / "resources.json").exists():
        settings["resources"] = "resources.json"
    with FakeAgent() as agent:
        input = Input(folder, tmp_path / "state", agent, **settings)
        units, faults = input.list()
        assert all(fault["severity"] == "warning" for fault in faults), faults
        order = ("discovery", "enrichment", "polling")
        for told in sorted(units, key=lambda one: order.index(one["parts"]["type"])):
            frames, printed = input.once(told)
            assert [frame["ok"] for frame in frames if frame["t"] == "end"] == [True], (frames, printed)
        with open(folder / "expected" / "metric.lp", encoding="utf-8") as file:
            assert lines_of(agent.rows) == file.read().splitlines()


# --- the tutorial ---


def written(tmp_path, extended):
    """The tutorial's files as it prints them; the extended version has the method and the transforms too."""
    listings = blocks(tutorial())
    skeleton = next(text for text in listings if "class TutorialPollingPlugin" in text)
    infos = [text for text in listings if text.lstrip().startswith("[Core]")]
    device = next(text for text in re.findall(r"^    (\[\n.*?^    \])", tutorial(), re.S | re.M))
    code = skeleton
    if extended:
        method = next(text for text in listings if "context_switch_count" in text and text.startswith("def "))
        start = skeleton.index("    def populateMetricsGroupSetWithTimeSeries")
        end = skeleton.index("    def run(")
        code = skeleton[:start] + "".join(f"    {line}\n" for line in method.splitlines()) + "\n" + skeleton[end:]
    path = write(tmp_path / "panoptes" / "polling" / "tutorial_plugin.panoptes-plugin", infos[1 if extended else 0])
    module = re.search(r"^Module = (.*)$", path.read_text(), re.M)[1]
    write(path.parent / os.path.basename(module), code)
    (tmp_path / "localhost.json").write_text(device)


def tutorial_input(tmp_path, agent):
    return Input(tmp_path, tmp_path / "state", agent, polling=["panoptes/polling"], resources="localhost.json")


def test_the_tutorials_skeleton_runs_and_gives_nothing_yet(tmp_path):
    written(tmp_path, extended=False)
    with FakeAgent() as agent:
        input = tutorial_input(tmp_path, agent)
        (told,), faults = input.list()
        assert (told["id"], told["every"]) == ("panoptes.Tutorial_Plugin", 60.0)
        assert [fault["code"] for fault in faults] == ["PD0804"]
        frames, (out, err) = input.once(told)
        assert [(frame["ok"], frame["points"]) for frame in frames if frame["t"] == "end"] == [(True, 0)]
        where = "plugin|plugin_discovery_from_json_file|site|local|class|tutorial"
        assert f"INFO Tutorial Plugin[tutorial_device] : Running TutorialPollingPlugin against {where}" in err
        assert agent.rows == []
        assert out == ""


def test_the_tutorials_plugin_gives_its_group_and_its_point(tmp_path):
    written(tmp_path, extended=True)
    with FakeAgent() as agent:
        input = tutorial_input(tmp_path, agent)
        (told,), _ = input.list()
        frames, (out, err) = input.once(told, times=2)
        assert [(frame["ok"], frame["reports"]) for frame in frames if frame["t"] == "end"] == [(True, 1)] * 2, err
        assert lines_of(agent.rows)[0] == (
            "example,cpu_no=5,host=testhost,resource_class=tutorial,resource_endpoint=localhost,resource_site=local,"
            "resource_subclass=host,resource_type=generic context_switch_count__counter=50,cpu_load__gauge=0.3 NOW"
        )
        rated = agent.rows[0]["r"][0]
        assert rated[:2] == ["context_switch_count__gauge", 50]
        assert rated[2] == {
            "kind": "counter",
            "out": "both",
            "raw": "context_switch_count__counter",
            "max_gap": 180.0,
            "round": "truncate",
            "late": "replace",
        }
        group = json.loads(out[: out.index("\n}\n") + 2])
        assert group["metrics_group_type"] == "example"
        assert group["resource"]["resource_id"] == "tutorial_device"
        assert {one["metric_name"]: one["metric_value"] for one in group["metrics"]} == {
            "context_switch_count": 50,
            "cpu_load": 0.3,
        }


def test_the_tutorials_json_resource_is_one(tmp_path):
    text = next(text for text in blocks(tutorial()) if text.lstrip().startswith('{\n    "resource_plugin"'))
    from pythond.dialects.panoptes.resources import from_json

    (found,), faults = from_json(f"[{text}]".encode(), "localhost.json")
    assert (found.resource_id, found.resource_ttl, faults) == ("tutorial_device", "900", [])


# --- in service ---


def test_a_worker_says_what_it_waits_for_and_runs_when_it_comes(tmp_path):
    shutil.copytree(os.path.join(CASES, "heartbeat"), tmp_path / "input")
    with FakeAgent() as agent:
        both = {one: [f"panoptes/{one}"] for one in ("polling", "discovery", "enrichment")}
        input = Input(tmp_path / "input", tmp_path / "state", agent, **both)
        units = {one["parts"]["type"]: one for one in input.list()[0]}
        with input.worker("worker", units["polling"]) as worker:
            frame = worker.until("job")
            assert (frame["state"], frame["next_ms"]) == ("waiting", 1000)
            assert frame["why"] == 'no resource matches `resource_class eq "system"`: there are none'
            input.once(units["discovery"])
            input.once(units["enrichment"])
            end = worker.until("end")
            # The enrichment may have come too late for the first run.
            assert (end["ok"], end["points"]) in ((True, 1), (True, 2))
            assert end["next_ms"] > 50_000
            worker.send(t="stop", grace_ms=2000)
            assert worker.status() == 0


def test_a_worker_whose_run_hangs_ends_itself_and_tells_where_it_stood(tmp_path):
    write(
        tmp_path / "p" / "x.py",
        """
        import time
        from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin

        class X(PanoptesPollingPlugin):
            def run(self, context):
                time.sleep(1000)
        """,
    )
    write(tmp_path / "p" / "x.panoptes-plugin", info(every=1))
    (tmp_path / "r.json").write_text(json.dumps([resource("a")]))
    with FakeAgent() as agent:
        input = Input(tmp_path, tmp_path / "state", agent, polling=["p"], resources="r.json", stop_grace=0.1)
        (told,), _ = input.list()
        with input.worker("worker", told) as worker:
            frame = worker.until("warn")
            assert (frame["code"], frame["file"], frame["line"]) == ("PD0302", str(tmp_path / "p" / "x.py"), 7)
            assert "time.sleep(1000)" in frame["msg"]
            bye = worker.until("bye")
            assert bye["reason"] == "replace" and bye["why"].endswith(", at x.py:7")
            assert worker.status() == 1
        # The next one leaves that resource alone for a while.
        with input.worker("worker", told) as worker:
            assert worker.until("job")["state"] == "ready"
            (told,) = worker.until("jobs")["set"]
            assert "1 late; 1 left alone after they hung (a)" in told["title"]


def test_thousands_of_resources_are_run_in_time_with_few_threads(tmp_path):
    count, every = 2000, 20
    write(
        tmp_path / "p" / "x.py",
        """
        import time
        from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin
        from yahoo_panoptes.framework.metrics import *

        class X(PanoptesPollingPlugin):
            def run(self, context):
                groups = PanoptesMetricsGroupSet()
                group = PanoptesMetricsGroup(context.data, "g", 20)
                group.add_metric(PanoptesMetric("v", 1, PanoptesMetricType.GAUGE))
                groups.add(group)
                time.sleep(0.02)
                return groups
        """,
    )
    host = Host(tmp_path)
    given = tmp_path / "r.json"
    given.write_text(json.dumps([resource(f"r{number}") for number in range(count)]))
    host.settings["resources"] = str(given)
    job = checked(write(tmp_path / "p" / "x.panoptes-plugin", info(every=every)), host)
    latest = 0.0
    reports = 0
    end = time.monotonic() + every * 0.3
    while time.monotonic() < end:
        pause = job.run()
        reports += 1
        latest = max(latest, job._runs.waiting()[1])
        time.sleep(pause)
    job.stop()
    assert len(host.rows) >= count * 0.25
    assert reports <= 10
    assert latest < 2.0, latest
    assert threading.active_count() < 30


# --- the original's own plugins ---

PACKAGE = "yahoo_panoptes==1.3.2"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The original's package, unpacked and not installed."""
    folder = str(tmp_path_factory.mktemp("package"))
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", folder]
    fetched = subprocess.run([*command, PACKAGE], capture_output=True, text=True, timeout=300)
    archives = os.listdir(folder)
    if not archives:
        last = (fetched.stderr.strip().splitlines() or ["no reason was given"])[-1]
        refuse = pytest.fail if os.environ.get("PYTHOND_REQUIRE_SERVERS") == "1" else pytest.skip
        refuse(f"{PACKAGE} cannot be fetched: {last}")
    path = os.path.join(folder, archives[0])
    if path.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(folder, **safe)
    else:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    found = [os.path.join(top, "yahoo_panoptes") for top, names, _ in os.walk(folder) if "yahoo_panoptes" in names]
    return found[0]


GOOD = """PING localhost (127.0.0.1) 56(84) bytes of data.

--- localhost ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 2041ms
rtt min/avg/max/mdev = 0.031/0.032/0.033/0.004 ms
"""


def test_the_originals_ping_plugin_runs(package, tmp_path, monkeypatch):
    from yahoo_panoptes.framework.utilities import ping

    program = write(tmp_path / "bin" / "ping", f"#!/bin/sh\ncat <<X\n{GOOD}X\n")
    program.chmod(0o755)
    monkeypatch.setattr(ping, "_PROGRAM", str(program))
    write(tmp_path / "p" / "r.json", json.dumps([resource("a")]))
    host = Host(tmp_path, resources=str(tmp_path / "p" / "r.json"))
    module = os.path.join(package, "plugins", "polling", "generic", "plugin_polling_ping.py")
    path = write(tmp_path / "p" / "ping.panoptes-plugin", info("Ping", module, more="count = 3\ntimeout = 5\n"))
    job = checked(path, host)
    job.run()
    job.stop()
    fields = {one.field: one.value for row in host.rows for one in row.readings}
    assert 0 in fields.values(), fields
    assert any("ping" in name for name in fields), fields


def test_the_originals_discovery_from_a_json_file_runs(package, tmp_path):
    module = os.path.join(package, "plugins", "discovery", "plugin_discovery_from_json_file.py")
    given = write(tmp_path / "d" / "hosts.json", json.dumps([resource("a"), {"bad": 1}, resource("b")]))
    more = f"config_file = {given}\n"
    path = write(tmp_path / "d" / "d.panoptes-plugin", info("D", module, query="", more=more))
    host = Host(tmp_path)
    job = checked(path, host, "discovery")
    job.run()
    assert [one.resource_id for one in job._shared.table.read()] == ["a", "b"]
    for text in ("[{}]", "no JSON"):
        given.write_text(text)
        job._runs.all_now()
        with pytest.raises(Exception, match="PanoptesDiscoveryPluginError"):
            job.run()
    given.unlink()
    job._runs.all_now()
    with pytest.raises(Exception, match="PanoptesDiscoveryPluginError"):
        job.run()
    # What it found before is still there.
    assert len(job._shared.table.read()) == 2
    job.stop()


def test_our_discovery_from_a_json_file_takes_the_place_of_one_that_is_not_there(tmp_path):
    module = "/container/yahoo_panoptes/plugins/discovery/plugin_discovery_from_json_file.py"
    given = write(tmp_path / "d" / "hosts.json", json.dumps([resource("a"), {"bad": 1}]))
    path = write(tmp_path / "d" / "d.panoptes-plugin", info("D", module, query="", more="config_file = hosts.json\n"))
    host = Host(tmp_path)
    job = checked(path, host, "discovery")
    job.run()
    assert [one.resource_id for one in job._shared.table.read()] == ["a"]
    for text in ("[{}]", "no JSON", '{"a": 1}', None):
        if text is None:
            given.unlink()
        else:
            given.write_text(text)
        job._runs.all_now()
        with pytest.raises(Exception, match="PanoptesDiscoveryPluginError"):
            job.run()
    job.stop()


def test_shared_documents_are_where_they_are_looked_for():
    if not os.path.isdir(SHARED):
        pytest.skip("the specification is not beside the repository (../shared)")
    assert os.path.isfile(os.path.join(SHARED, "cases", "panoptes", "golden.txt"))
    assert unit("x").input == "panoptes"
    assert panoptes.PATH_LAST == ()
