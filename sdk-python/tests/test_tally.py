"""The example dialect: units, faults, jobs that wait, come and go, and the rows that they put."""

import json

import pytest

from pythond.testing import Answer
from support import Worker, frames_of, jobs_of, one

TALLY = """\
# two units in one file
unit web
job hits every 0.02 file hits
job misses every 0.02 file misses

unit disks
follow sub every 0.02
"""


@pytest.fixture
def worker_of(core, tmp_path, agent):
    """Starts workers of an input `tally` with the settings file `a.tally`."""

    def start(text=TALLY, mode="worker", parts=None, **more):
        path = tmp_path / "a.tally"
        path.write_text(text)
        # A lister is given the folder of its input, or the file of somebody's command line.
        file = more.pop("file", tmp_path if mode == "list" else path)
        spec = {"dialect": "tally", "input": "tally", "module": "", "roots": [], "parts": parts, **more}
        return Worker(file, mode, agent=agent, spec=spec, core=core)

    return start


def test_a_file_that_is_given_is_the_only_one(worker_of, tmp_path):
    (tmp_path / "b.tally").write_text("unit b\n")
    _, units, _ = listed(worker_of, file=tmp_path / "b.tally", settings={"files": [str(tmp_path)]})
    assert [unit["id"] for unit in units] == ["tally.b"]


def test_once_runs_a_counter_twice_and_only_the_jobs_that_are_named(worker_of, agent, tmp_path):
    (tmp_path / "hits").write_text("10")
    (tmp_path / "misses").write_text("3")
    text = "unit web\njob hits every 0.02 file hits\njob misses every 0.02 file misses\n"
    for more, runs in [({"only": ["misses"]}, [(1, 1), (1, 2)]), ({"times": 1}, [(0, 1), (1, 1)])]:
        agent.answers.append(Answer(200, '{"accepted":1,"no_value":1,"resets":0}'))
        with worker_of(text, "once", **{"times": 0, **more}) as worker:
            frames = worker.rest()
        assert [(frame["i"], frame["k"]) for frame in frames if frame["t"] == "end"] == runs


def listed(worker_of, text=TALLY, **more):
    with worker_of(text, "list", **more) as worker:
        frames = worker.rest()
        assert worker.status() == 0, frames
    units = [unit for frame in frames if frame["t"] == "units" for unit in frame["units"]]
    return frames, units, [frame for frame in frames if frame["t"] == "fault"]


def test_one_file_gives_two_units_and_both_read_it(worker_of, tmp_path):
    frames, units, faults = listed(worker_of, settings={"files": [str(tmp_path)]})
    path = str(tmp_path / "a.tally")
    common = {"file": path, "reads": [path], "process": "", "quiet": False, "every": None}
    assert units == [
        {"id": "tally.web", "title": "web", "line": 2, "parts": {"unit": "web"}, **common},
        {"id": "tally.disks", "title": "disks", "line": 6, "parts": {"unit": "disks"}, **common},
    ]
    assert faults == []
    read = [frame for frame in frames if frame["t"] == "read"]
    assert [entry["file"] for frame in read for entry in frame["files"]] == [path]
    assert [one["folder"] for frame in read for one in frame["folders"]] == [str(tmp_path)]


def test_isolation_says_which_units_share_a_worker(worker_of, tmp_path):
    for isolation, process in (("unit", ""), ("file", str(tmp_path / "a.tally")), ("input", "tally")):
        _, units, _ = listed(worker_of, settings={"files": [str(tmp_path)]}, isolation=isolation)
        assert [unit["process"] for unit in units] == [process] * 2


@pytest.mark.parametrize(
    ("line", "code", "column", "text"),
    [
        ("  jobs hits every 1 file x", "PD0801", 3, "`jobs`"),
        ("job hits every 1", "PD0801", 1, "job NAME every SECONDS file PATH"),
        ("unit a b", "PD0801", 1, "unit NAME"),
        ("follow x", "PD0801", 1, "follow FOLDER every SECONDS"),
        ("job hits every fast file x", "PD0802", 16, "`fast` must be a number of seconds above 0"),
        ("follow x every -1", "PD0802", 16, "`-1`"),
        ("unit web", "PD0802", 6, "twice"),
        ("job good every 1 file x", "PD0802", 5, "twice"),
    ],
)
def test_what_is_wrong_has_its_place_and_the_rest_runs(worker_of, tmp_path, line, code, column, text):
    path = tmp_path / "a.tally"
    settings = {"files": [str(path)]}
    whole = f"unit web\njob good every 1 file good\n{line}\nunit other\n"
    _, units, (fault,) = listed(worker_of, whole, settings=settings)
    place = (fault["code"], fault["file"], fault["line"], fault["col"], fault["severity"], fault["src"])
    assert place == (code, str(path), 3, column, "error", line)
    assert text in fault["msg"]
    assert [unit["title"] for unit in units] == ["web", "other"]


def test_what_stands_before_the_first_unit_is_a_fault(worker_of, tmp_path):
    _, units, (fault,) = listed(worker_of, "job a every 1 file x\n", settings={"files": [str(tmp_path)]})
    assert (units, fault["line"], fault["msg"]) == ([], 1, "a `unit` must come first")


def test_a_file_that_is_not_there_is_a_fault_beside_the_others(worker_of, tmp_path):
    files = [str(tmp_path / "missing.tally"), str(tmp_path)]
    _, units, (fault,) = listed(worker_of, settings={"files": files})
    assert (fault["code"], fault["file"], len(units)) == ("PD0106", files[0], 2)


def test_a_job_waits_for_its_file_and_puts_a_gauge_and_a_counter(worker_of, tmp_path, agent):
    (tmp_path / "hits").write_text("7")
    with worker_of(parts={"unit": "web"}) as worker:
        keys = [job["key"] for job in worker.until("jobs")["set"]]
        assert keys == ["hits", "misses"]
        states = {}
        while len(states) < 2:
            frame = worker.until("job")
            states[keys[frame["i"]]] = (frame["state"], frame["why"], frame["next_ms"])
        assert states["hits"] == ("ready", "", 0)
        assert states["misses"] == ("waiting", f"{tmp_path / 'misses'} is not there", 20)
        (tmp_path / "misses").write_text("3")
        while worker.until("job")["state"] != "ready":
            pass
        ended = set()
        while ended != {0, 1}:
            end = worker.until("end")
            assert (end["ok"], end["points"]) == (True, 1), end
            ended.add(end["i"])
        worker.send(t="stop", grace_ms=5000)
        worker.rest()
    rows = {row["job"]: row for row in agent.rows}
    assert rows["hits"].pop("ns") > 10**18
    assert rows["hits"] == {
        "job": "hits",
        "m": "tally",
        "t": {"unit": "web", "job": "hits"},
        "r": [["value", 7.0], ["rate", 7.0, {"kind": "counter"}]],
    }


def test_jobs_come_and_go_with_the_files_of_a_folder(worker_of, tmp_path):
    folder = tmp_path / "sub"
    folder.mkdir()
    with worker_of(parts={"unit": "disks"}) as worker:
        assert [job["key"] for job in worker.until("jobs")["set"]] == ["sub/"]
        (folder / "sda").write_text("1")
        (job,) = worker.until("jobs")["set"]
        assert (job["key"], job["line"]) == ("sub/sda", 7)
        while worker.until("end")["i"] != job["i"]:
            pass
        (folder / "sda").unlink()
        frame = worker.until("jobs")
        assert (frame["set"], frame["gone"]) == ([], [job["i"]])
        worker.send(t="stop", grace_ms=5000)
        assert not [frame for frame in worker.rest() if frame["t"] == "end" and frame["i"] == job["i"]]


def test_a_file_run_as_a_whole_has_all_its_units_and_says_what_is_wrong(worker_of, tmp_path, agent):
    (tmp_path / "hits").write_text("7")
    (tmp_path / "sub").mkdir()
    with worker_of(TALLY + "what\n", "once", times=2) as worker:
        frames = worker.rest()
    assert [job["key"] for job in jobs_of(frames)] == ["hits", "misses", "sub/"]
    warning = one(frames, "warn")
    assert (warning["code"], warning["line"], warning["col"]) == ("PD0801", 8, 1)
    ends = [(end["i"], end["k"], end["ok"]) for end in frames if end["t"] == "end"]
    assert ends == [(0, 1, True), (0, 2, True), (2, 1, True), (2, 2, True)]
    assert one([frame for frame in frames if frame.get("state") == "waiting"], "job")["i"] == 1


def test_a_unit_that_is_gone_cannot_be_loaded(worker_of):
    with worker_of(parts={"unit": "x"}) as worker:
        assert one(worker.rest(), "fatal")["code"] == "PD0204"


def test_the_last_good_version_runs_with_the_settings_it_had(core, tmp_path, agent):
    path = tmp_path / "a.tally"
    path.write_text("broken\n")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "copy").write_text(TALLY)
    entry = {"file": str(path), "sum": "-", "copy": "copy"}
    (kept / "manifest.json").write_text(json.dumps({"files": [entry]}))
    spec = {"dialect": "tally", "roots": [], "parts": {"unit": "web"}, "kept": str(kept / "manifest.json")}
    frames, status = frames_of(path, "check", agent=agent, spec=spec, core=core)
    assert ([job["key"] for job in jobs_of(frames)], status) == (["hits", "misses"], 0)


def test_the_documentation_shows_what_there_is():
    import os

    from support import CORE

    with open(os.path.join(os.path.dirname(CORE), "docs", "dialects.md"), encoding="utf-8") as file:
        blocks = [block.partition("```")[0] for block in file.read().split("```python\n")[1:]]
    with open(os.path.join(CORE, "tests", "dialects", "tally", "__init__.py"), encoding="utf-8") as file:
        source = file.read()
    assert len(blocks) > 4
    for block in blocks:
        assert block in source, block
