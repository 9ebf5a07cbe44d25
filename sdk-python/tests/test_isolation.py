"""What a worker runs of its files: all, one class, none (it only tells them), or several scripts in one process."""

import os

from support import Worker, frames_of, jobs_of, one

HEAD = "from datakit_framework import DataKitFramework\n"
TWO = f"""{HEAD}
class A(DataKitFramework):
    interval = 0.02
    def __init__(self):
        open(__file__ + '.A', 'a').write('x')
    def run(self):
        pass
class B(DataKitFramework):
    interval = 0.02
    def run(self):
        pass
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def collector(name, body, before=""):
    lines = "\n".join("        " + line for line in body.splitlines())
    return f"{HEAD}{before}\nclass {name}(DataKitFramework):\n    interval = 0.02\n    def run(self):\n{lines}\n"


class Several(Worker):
    """A worker of several scripts, given as `(path, must)`; the folders of the first come first."""

    def __init__(self, *scripts, mode="worker", roots=None, piece=1, **more):
        spec = {"several": len(scripts), "roots": roots or list(dict.fromkeys(str(path.parent) for path, _ in scripts))}
        super().__init__(scripts[0][0], mode, spec={**spec, **more.pop("spec", {})}, **more)
        entries = [
            {
                "id": path.stem,
                "file": str(path),
                "module": path.stem,
                "token": f"token-{path.parent.name}-{path.stem}",
                "must": must,
            }
            for path, must in scripts
        ]
        for start in range(0, len(entries), piece):
            self.send(t="units", units=entries[start : start + piece])


def frames_of_several(*scripts, **more):
    with Several(*scripts, **more) as worker:
        frames = worker.rest()
        return frames, worker.status()


# --- classes ---


def told(frames):
    return [unit for frame in frames if frame["t"] == "units" for unit in frame["units"]]


def test_a_worker_that_only_lists_tells_the_classes_and_makes_none(tmp_path):
    path = write(tmp_path / "s.py", TWO)
    frames, status = frames_of(path, "list")
    common = {"file": str(path), "reads": [], "process": "", "quiet": False, "every": None}
    assert told(frames) == [
        {"id": "some.script:A", "title": "A", "line": 3, "parts": {"class": "A"}, **common},
        {"id": "some.script:B", "title": "B", "line": 9, "parts": {"class": "B"}, **common},
    ]
    assert ([frame["t"] for frame in frames], status) == (["hello", "loaded", "units", "listed", "bye"], 0)
    assert not os.path.exists(f"{path}.A"), "no collector was made"


def test_only_the_class_that_is_wanted_is_made_and_run(tmp_path):
    path = write(tmp_path / "s.py", TWO)
    with Worker(path, spec={"parts": {"class": "B"}}) as worker:
        (job,) = worker.until("jobs")["set"]
        assert (job["i"], job["key"]) == (0, "B")
        assert worker.until("end")["ok"]
    assert not os.path.exists(f"{path}.A")


def test_a_class_that_is_gone_is_named_with_those_that_are_there(tmp_path):
    path = write(tmp_path / "s.py", TWO)
    frames, _ = frames_of(path, "worker", spec={"parts": {"class": "C"}})
    fatal = one(frames, "fatal")
    assert (fatal["code"], fatal["permanent"], fatal["exc"]) == ("PD0204", True, "NoCollector")
    assert fatal["msg"] == "no class `C` of this file is a collector; those are `A`, `B`"


def test_a_class_that_cannot_be_made_is_the_failure_of_its_own_worker(tmp_path):
    path = write(tmp_path / "s.py", TWO.replace("open(__file__ + '.A', 'a').write('x')", "raise OSError('no disk')"))
    fatal = one(frames_of(path, "worker", spec={"parts": {"class": "A"}})[0], "fatal")
    assert (fatal["phase"], fatal["exc"], fatal["msg"]) == ("init", "OSError", "no disk")
    assert [unit["title"] for unit in told(frames_of(path, "list")[0])] == ["A", "B"]


def test_classes_of_one_name_are_told_apart(tmp_path):
    made = "def make(n):\n    class C(DataKitFramework):\n        def run(self): print(n, flush=True)\n    return C\n"
    path = write(tmp_path / "s.py", HEAD + made + "one = make(1)\ntwo = make(2)\n")
    assert [unit["id"] for unit in told(frames_of(path, "list")[0])] == ["some.script:C", "some.script:C~2"]
    with Worker(path, "once", spec={"parts": {"class": "C~2"}}) as worker:
        assert worker.output()[0] == "2\n"


def test_a_file_without_a_collector_cannot_be_listed_and_is_passive_where_others_import_it(tmp_path):
    path = write(tmp_path / "s.py", "VALUE = 1\n")
    frames, status = frames_of(path, "list")
    assert (one(frames, "fatal")["code"], one(frames, "fatal")["passive"], status) == ("PD0204", True, 1)
    assert frames[-1]["t"] == "bye"
    write(path, HEAD + "class A(DataKitFramework): pass\n")
    assert "passive" not in one(frames_of(path, "list")[0], "fatal")


# --- several scripts ---


def test_several_scripts_share_a_process_and_each_reports_as_itself(tmp_path, agent):
    body = "self.feed_metric(measurement='{}', fields={{'pid': __import__('os').getpid()}})"
    a = write(tmp_path / "a/x.py", collector("C", body.format("a")))
    b = write(tmp_path / "b/x.py", collector("C", body.format("b")))
    with Several((a, True), (b, True), agent=agent) as worker:
        jobs = worker.until("jobs")["set"]
        assert [(job["i"], job["u"], job["key"]) for job in jobs] == [(0, 0, "C"), (1, 1, "C")]
        done = set()
        while done != {0, 1}:
            end = worker.until("end")
            assert (end["ok"], end["points"]) == (True, 1), end
            done.add(end["i"])
        worker.send(t="stop", grace_ms=5000)
        assert worker.rest()[-1]["reason"] == "stop"
    senders = {}
    for request in agent.requests:
        text = request.body.decode()
        senders.setdefault(request.headers["X-Pythond-Worker"], set()).add("a" if '"a"' in text else "b")
    assert senders == {"token-a-x": {"a"}, "token-b-x": {"b"}}
    pids = [request.body.decode().partition('"pid":')[2].strip().partition("}")[0] for request in agent.requests]
    assert len(set(pids)) == 1


def test_a_script_that_cannot_be_loaded_leaves_the_others_alone_and_is_told(tmp_path):
    bad = write(tmp_path / "a/bad.py", HEAD + "x = (\n")
    raises = write(tmp_path / "a/raises.py", collector("C", "pass") + "    def __init__(self): 1 / 0\n")
    missing = write(tmp_path / "a/missing.py", "import not_there_at_all\n")
    exits = write(tmp_path / "a/exits.py", "raise SystemExit(3)\n")
    good = write(tmp_path / "b/good.py", collector("C", "pass"))
    scripts = [(path, False) for path in (bad, raises, missing, exits, good)]
    frames, status = frames_of_several(*scripts, mode="once")
    told = [(frame["u"], frame["code"], frame["exc"]) for frame in frames if frame["t"] == "unloaded"]
    assert told == [
        (0, "PD0201", "SyntaxError"),
        (1, "PD0203", "ZeroDivisionError"),
        (2, "PD0202", "ModuleNotFoundError"),
        (3, "PD0203", "SystemExit"),
    ]
    assert [frame["u"] for frame in frames if frame["t"] == "loading"] == [0, 1, 2, 3, 4]
    (job,) = jobs_of(frames)
    assert (job["u"], one(frames, "end")["ok"], status) == (4, True, 0)


def test_a_script_that_must_load_ends_the_process_where_it_does_not(tmp_path):
    good = write(tmp_path / "a/good.py", collector("C", "pass"))
    bad = write(tmp_path / "a/bad.py", "x = (\n")
    frames, status = frames_of_several((good, True), (bad, True))
    fatal = one(frames, "fatal")
    assert (fatal["u"], fatal["code"], fatal["file"], status) == (1, "PD0201", str(bad), 1)


def test_a_script_that_became_a_helper_may_and_an_empty_one_may_not(tmp_path):
    good = write(tmp_path / "a/good.py", collector("C", "pass"))
    helper = write(tmp_path / "a/helper.py", "VALUE = 1\n")
    frames, _ = frames_of_several((good, True), (helper, True), mode="once")
    assert one(frames, "unloaded")["passive"]
    write(helper, "")
    frames, _ = frames_of_several((good, True), (helper, True), mode="once")
    assert one(frames, "fatal")["u"] == 1


def test_where_no_script_can_be_loaded_the_worst_is_told(tmp_path):
    helper = write(tmp_path / "a/helper.py", "VALUE = 1\n")
    bad = write(tmp_path / "a/bad.py", "x = (\n")
    frames, status = frames_of_several((helper, False), (bad, False))
    fatal = one(frames, "fatal")
    assert (fatal["u"], fatal["code"], status) == (1, "PD0201", 1)


def test_each_script_finds_the_helper_beside_it(tmp_path):
    scripts = []
    for name in ("a", "b"):
        write(tmp_path / name / "helper.py", f"NAME = {name!r}\n")
        text = collector("C", "print(helper.NAME, flush=True)", "import helper")
        scripts.append(write(tmp_path / name / "x.py", text))
    with Several(*[(path, True) for path in scripts], mode="once") as worker:
        assert worker.output()[0] == "a\nb\n"


def test_refusals_warnings_and_threads_are_told_of_their_script(tmp_path, agent):
    bad_point = "self.feed_metric(measurement='m', fields={'a': object()})"
    a = write(tmp_path / "a/x.py", collector("C", "pass"))
    b = write(tmp_path / "b/y.py", collector("C", bad_point).replace("0.02", "'often'"))
    body = "t = threading.Thread(target=self.boom)\nt.start()\nt.join()"
    c = write(tmp_path / "c/z.py", collector("C", body, "import threading") + "    def boom(self):\n        1 / 0\n")
    frames, _ = frames_of_several((a, True), (b, True), (c, True), mode="once", agent=agent)
    assert one(frames, "refused")["u"] == 1
    warned = {frame["code"]: frame["u"] for frame in frames if frame["t"] == "warn"}
    assert warned == {"PD0209": 1, "PD0310": 2, "PD0406": 1}
    assert [(end["i"], end["refused"]) for end in frames if end["t"] == "end"] == [(0, 0), (1, 1), (2, 0)]


def test_more_collectors_than_fit_a_frame_are_all_told(tmp_path):
    classes = "".join(f"class C{n}(DataKitFramework):\n    def run(self): pass\n" for n in range(130))
    scripts = [(write(tmp_path / name / "x.py", HEAD + classes), True) for name in "abcd"]
    frames, _ = frames_of_several(*scripts, mode="check", piece=2)
    jobs = jobs_of(frames)
    assert [job["i"] for job in jobs] == list(range(520))
    assert [job["u"] for job in jobs] == [n // 130 for n in range(520)]


def test_the_last_good_version_of_several_scripts_keeps_helpers_of_one_name_apart(tmp_path):
    import json

    from pythond.sources import sum_of

    files, scripts = [], []
    for name in ("a", "b"):
        texts = {"helper": f"NAME = {name!r}\n", "x": collector("C", "print(helper.NAME, flush=True)", "import helper")}
        for module, text in texts.items():
            path, copy = tmp_path / name / f"{module}.py", f"{name}-{module}.py"
            write(tmp_path / "kept" / copy, text)
            write(path, "broken (\n")
            entry = {"file": str(path), "sum": sum_of(text.encode()), "name": module, "package": False, "copy": copy}
            files.append(entry)
        scripts.append((tmp_path / name / "x.py", False))
    manifest = write(tmp_path / "kept/manifest.json", json.dumps({"files": files}))
    with Several(*scripts, mode="once", spec={"kept": str(manifest)}) as worker:
        assert worker.output()[0] == "a\nb\n"
