"""The tutorial's module runs as it is printed, and so does our example; both in a real worker, too."""

import glob
import os
import re
import shutil

import pytest
from test_zygote import Zygote, subreaper  # noqa: F401

from fake_host import FakeHost, load, units_of
from netdata.conftest import CORE
from pythond import loader
from pythond.dialects import netdata
from support import Worker

ROOT = os.path.dirname(CORE)
EXAMPLE = os.path.join(ROOT, "python.d", "examples", "weather")
STATION = os.path.join(ROOT, "tests", "cases", "netdata", "station", "python.d", "station", "station.chart.py")
OURS = ("python.d/examples/weather/weather_station.chart.py", "tests/cases/netdata/station")


def tutorial():
    """Returns the text of netdata's tutorial, None where it is not beside this tree."""
    for path in glob.glob(os.path.join(os.path.dirname(ROOT), "shared", "seeds", "*.txt")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if text.startswith("# Develop a custom data collector in Python"):
            return text
    return None


# The typographic quote that opens a text.
OPENING = "\u2018"
needs_tutorial = pytest.mark.skipif(tutorial() is None, reason="the tutorial is not beside this tree")


def listing():
    """Returns the whole module of the tutorial."""
    blocks = re.findall(r"^```python\n(.*?)^```", tutorial(), re.MULTILINE | re.DOTALL)
    (whole,) = [block for block in blocks if "class Service(SimpleService)" in block and "ORDER" in block]
    return whole


def run(path, host=None, times=1, id=None):
    """Runs a file by hand, as `pythond run` does; returns the rows of the last run."""
    host = host or FakeHost()
    units, _, faults = units_of(netdata, host, file=path)
    assert faults == []
    job = load(netdata, units[id or next(iter(units))], host)
    job.check()
    for _ in range(times):
        job.run()
    return host.rows[-1], host


@pytest.fixture
def weather(tmp_path):
    """Writes a module into the folder that the tutorial names."""

    def write(text):
        folder = tmp_path / "weather"
        folder.mkdir(exist_ok=True)
        path = folder / "weather_station.chart.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@needs_tutorial
def test_the_tutorials_module_runs_as_it_is_printed(lab, weather):
    (row,), host = run(weather(listing()))
    assert row.measurement == "weather_station.temperature"
    assert row.tags == {
        "chart": "weather_station.temp_current",
        "family": "TEMP",
        "units": "Celsius",
        "module": "weather_station",
        "job": "weather_station",
    }
    ((field, value),) = [(one.field, one.value) for one in row.readings]
    assert field == "current_temperature" and 0 <= value <= 100 and host.warnings == []


@needs_tutorial
def test_its_first_version_names_the_dimension_that_is_meant(lab, weather):
    text = listing().replace('["current_temperature"]', '["current_temp_id","current_temperature"]')
    with pytest.raises(Exception, match="get_data returned current_temperature; the dimensions are current_temp_id"):
        run(weather(text))


@needs_tutorial
def test_its_stray_backtick_is_named(lab, weather):
    text = listing().replace("        return data", "        data['avg_temperature`'] = 1\n        return data")
    _, host = run(weather(text))
    assert host.warnings[0][0] == "PD0413" and "avg_temperature`" in host.warnings[0][1]


@needs_tutorial
def test_its_typographic_quotes_are_a_syntax_error_with_its_line(lab, weather):
    (bad,) = [one for one in re.findall(r"^ORDER = \[[^\]]*\]$", tutorial(), re.MULTILINE) if OPENING in one]
    text = re.sub(r"^ORDER = \[.*?^\]$", lambda _: bad, listing(), count=1, flags=re.MULTILINE | re.DOTALL)
    line = text[: text.index(OPENING)].count("\n") + 1
    with pytest.raises(loader.Failure) as caught:
        run(weather(text))
    assert (caught.value.frame["code"], caught.value.frame["line"]) == ("PD0201", line)


@needs_tutorial
def test_its_configuration_makes_two_stations(lab, weather, needs_yaml):
    (conf,) = re.findall(r"^```yaml\n(weather_station_1:.*?)^```", tutorial(), re.MULTILINE | re.DOTALL)
    path = weather(listing())
    path.with_name("weather_station.conf").write_text(conf)
    units, _, faults = units_of(netdata, FakeHost(), file=path)
    assert set(units) == {"netdata.weather_station:Greece", "netdata.weather_station:Florida_USA"} and not faults


def test_our_module_of_the_same_shape_runs(lab):
    (row,), host = run(STATION)
    assert (row.measurement, row.tags["chart"]) == ("station.temperature", "station.now")
    assert [(one.field, one.value) for one in row.readings] == [("degrees", 42.0)] and host.warnings == []


@pytest.mark.parametrize(("id", "every"), [("Greece", 5), ("Florida_USA", 10)])
def test_the_example_runs_with_both_stations(lab, needs_yaml, id, every):
    path = os.path.join(EXAMPLE, "weather_station.chart.py")
    rows, host = run(path, times=2, id=f"netdata.weather_station:{id}")
    assert [row.measurement for row in rows] == [
        "weather_station.temperature",
        "weather_station.temperature_stats",
        "weather_station.humidity",
        "weather_station.rain",
    ]
    assert host.jobs[0].every == every and host.warnings == []
    celsius = rows[0].readings[0].value
    assert 10 < celsius < 35
    if id == "Greece":
        assert rows[0].tags["continent"] == "Europe"


# --- in a real worker ---


@pytest.fixture
def worker(tmp_path, agent):
    """Starts a worker of the dialect on a module."""

    def start(mode, file, parts=None, **more):
        spec = {"dialect": "netdata", "input": "netdata", "module": "", "parts": parts, **more}
        return Worker(file, mode, agent=agent, spec=spec)

    return start


def rest_of(worker):
    with worker:
        frames = worker.rest()
        return frames, worker.status()


def test_a_lister_tells_the_units_of_the_example(worker, tmp_path, needs_yaml):
    shutil.copytree(EXAMPLE, tmp_path / "weather")
    frames, status = rest_of(worker("list", "", settings={"dirs": [str(tmp_path)]}))
    units = [unit for frame in frames if frame["t"] == "units" for unit in frame["units"]]
    assert [unit["id"] for unit in units] == ["netdata.weather_station:Greece", "netdata.weather_station:Florida_USA"]
    assert all("off" not in unit for unit in units)
    assert status == 0 and [frame for frame in frames if frame["t"] == "fault"] == []
    read = [entry["file"] for frame in frames if frame["t"] == "read" for entry in frame["files"]]
    assert str(tmp_path / "weather" / "weather_station.conf") in read


def test_a_lister_tells_what_is_off_and_where_it_says_so(worker, tmp_path):
    with open(STATION, encoding="utf-8") as file:
        (tmp_path / "x.chart.py").write_text("disabled_by_default = True\n" + file.read())
    frames, _ = rest_of(worker("list", "", settings={"dirs": [str(tmp_path)]}))
    (unit,) = [unit for frame in frames if frame["t"] == "units" for unit in frame["units"]]
    assert (unit["id"], unit["off"]) == ("netdata.x", f"{tmp_path}/x.chart.py:1: disabled_by_default")


def test_a_worker_runs_what_the_lister_told(worker, tmp_path, agent):
    path = shutil.copy(STATION, tmp_path)
    parts = {"module": "station", "file": path, "conf": "", "jobs": ["station"], "gc": 300}
    frames, status = rest_of(worker("once", path, parts, times=2))
    ends = [frame for frame in frames if frame["t"] == "end"]
    assert status == 0 and [end["ok"] for end in ends] == [True, True], frames
    assert [frame for frame in frames if frame["t"] in ("warn", "refused", "fatal")] == []
    loaded = [entry["file"] for frame in frames if frame["t"] == "loaded" for entry in frame["files"]]
    assert loaded == [str(path)]
    told = [job["every"] for frame in frames if frame["t"] == "jobs" for job in frame["set"]]
    assert told == [60.0, 1.0], "the pause between checks, then between runs"


def test_a_worker_tells_why_a_check_found_nothing(worker, tmp_path):
    path = tmp_path / "x.chart.py"
    with open(STATION, encoding="utf-8") as file:
        path.write_text(file.read().replace("return True", "return False"))
    frames, _ = rest_of(worker("once", path, settings={"recheck": 60}))
    (told,) = [frame for frame in frames if frame["t"] == "job"]
    assert told["state"] == "waiting" and told["next_ms"] == 60000
    assert told["why"].startswith("its check found nothing to collect (check returned False)")


def test_a_worker_prints_the_protocol(worker, tmp_path):
    path = shutil.copy(STATION, tmp_path)
    with worker("once", path, settings={"protocol": True}, times=2) as started:
        started.rest()
        started.status()
        out = started.process.stdout.read().decode()
    assert "BEGIN station.now 0\nSET 'degrees' = 42\nEND\n" in out


def test_a_zygote_forks_jobs_that_share_what_the_sample_has_loaded(tmp_path):
    paths = []
    for name in ("one", "two"):
        paths.append(shutil.copy(STATION, tmp_path / f"{name}.chart.py"))
    with Zygote(paths, [tmp_path], dialect="netdata") as zygote:
        assert zygote.said["t"] == "ready", zygote.said
        for path in paths:
            forked = zygote.fork()
            forked.send_spec(path, dialect="netdata", mode="worker", id=f"netdata.{os.path.basename(path)}", module="")
            forked.until("run")
            end = forked.until("end")
            # There is no agent to report to; what counts is that the module has run.
            assert end["i"] == 0 and end["k"] == 1 and end["ok"], end
            with open(f"/proc/{forked.pid}/smaps_rollup") as file:
                sizes = {line.split()[0]: int(line.split()[1]) for line in file if "kB" in line}
            assert sizes["Private_Dirty:"] < 8 * 1024, sizes
