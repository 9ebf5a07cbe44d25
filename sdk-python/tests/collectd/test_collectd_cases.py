"""The recorded cases of the original, run by the dialect: what it dispatches, logs and writes is the same.

With `PYTHOND_DIFFERENTIAL=1` the original runs beside, and what it gives now is what is wanted.
"""

import collections
import concurrent.futures
import functools
import json
import math
import os
import pathlib
import re
import shutil
import sys
import tempfile

import pytest

import collectd_lab as lab
import collectd_rates as rates

ROOT = pathlib.Path(lab.CORE).parent
OWN = ROOT / "tests" / "cases" / "collectd"
sys.path.append(str(OWN))

import capture  # noqa: E402

LIVE = os.environ.get("PYTHOND_DIFFERENTIAL") == "1"
REQUIRED = os.environ.get("PYTHOND_REQUIRE_SERVERS") == "1"
SHARED = ROOT.parent / "shared" / "cases" / "collectd"
CACHE = ROOT / "target" / "collectd-cases"
# What Debian's Python has besides, where the original ran.
BESIDES = {"puppet": ["PyYAML>=6"]}
# Lines of `out.txt` that shall not be the original's; those of other cases are compared in any order.
WANTED = {
    "api_surface": ["EXC get_dataset nope -> TypeError: Dataset nope not found"],
    "arguments": [
        "EXC write none -> RuntimeError: type gauge needs 1 values, got 0",
        "OK  types -> ['member_descriptor', 'member_descriptor', 'member_descriptor', 'member_descriptor', 'function']",
    ],
    "class_attributes": [],
    "dispatches": [],
}
# The original says these of its other plugins, or of what ours does not share with it.
NOT_OURS = ("[info] Timer", "[info] Sent https", "Error: Parsing", "Replacing DS", "-.::")


def cases():
    found = {path.parent.name: path.parent for folder in (OWN, SHARED) for path in sorted(folder.glob("*/case.json"))}
    return sorted(found.items())


def named(name):
    folder = dict(cases()).get(name)
    if folder is None:
        pytest.skip(f"the case {name} is in ../shared, which is not there")
    return folder


class Case(capture.Ground):
    """A case, and what the original gave: as it was recorded, or as it gives now."""

    def __init__(self, folder, tmp_path):
        super().__init__(folder, tmp_path, plugins_of(folder))
        self.live = None

    def run(self, **settings):
        log = f'LoadPlugin logfile\n<Plugin logfile>\n  File "{self.dir}/log"\n</Plugin>'
        enough = collections.Counter()
        for row in self.expected("series.jsonl"):
            enough[row["plugin"]] += row["n"]
        with self.source():
            conf = self.conf(log)
            return lab.run_in_process(conf, self.spec["seconds"], env=self.env, settings=settings, enough=enough)

    def expected(self, name):
        text = self.live.texts[name] if self.live else (self.folder / "expected" / name).read_text()
        return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else text


def plugins_of(folder):
    spec = json.loads((folder / "case.json").read_text())
    target = CACHE / f"{sys.version_info[0]}.{sys.version_info[1]}-{folder.name}"
    try:
        return capture.installed(spec, target, sys.executable, BESIDES.get(folder.name, ()))
    except OSError as error:
        # Some want a newer Python than this one.
        assert not LIVE and (not REQUIRED or "Requires-Python" in str(error)), error
        return pytest.skip(str(error))


@functools.lru_cache(maxsize=None)
def _begun():
    """Begins all cases, some at a time: most of what they do is to wait."""
    pool = concurrent.futures.ThreadPoolExecutor(4)
    begun = {name: pool.submit(_run, folder, {}) for name, folder in cases()}
    for name, folder in with_rates():
        begun[f"{name}, as rates"] = pool.submit(_run, folder, {"store_rates": True})
    return begun


def with_rates():
    return [(name, folder) for name, folder in cases() if json.loads((folder / "case.json").read_text()).get("rates")]


def _run(folder, settings):
    case = Case(folder, scratch_of(folder))
    if LIVE:
        # On a ground of its own: both have their source, their ports and their files.
        original = Case(folder, scratch_of(folder))
        case.live = capture.capture(original)
        shutil.rmtree(original.dir, ignore_errors=True)
    return case, case.run(**settings)


def scratch_of(folder):
    return pathlib.Path(tempfile.mkdtemp(prefix=f"collectd-{folder.name}-"))


@pytest.fixture(scope="module", autouse=True)
def no_scratch_is_left():
    yield
    for one in _begun().values():
        if one.exception() is None:
            shutil.rmtree(one.result()[0].dir, ignore_errors=True)


def ran(name):
    """Returns a case and what came of it."""
    named(name.partition(",")[0])
    return _begun()[name].result()


def as_series(lists, case):
    """Returns value lists as the cases have them: each identity with its different values in a row."""
    series = {}
    for one in lists:
        row = {key: case.hide(one[key]) for key in ("plugin", "plugin_instance", "type", "type_instance", "host")}
        row.update(ds=one["ds"], interval=one["interval"], meta=one["meta"])
        known = series.setdefault(json.dumps(row, sort_keys=True), {**row, "n": 0, "rows": []})
        known["n"] += 1
        shown = one["values"] + ([one["time"]] if case.spec.get("times") else [])
        if known["rows"][-1:] != [shown]:
            known["rows"].append(shown)
    return series


def assert_same_series(found, expected, spec):
    wanted = {}
    for row in expected:
        key = {name: value for name, value in row.items() if name not in ("n", "rows")}
        if key["interval"] > 1e10:
            # Wanted: a negative interval is the default, not the 544 years that it becomes there.
            key["interval"] = float(spec["interval"])
        wanted[json.dumps(key, sort_keys=True)] = row
    assert sorted(found) == sorted(wanted)
    for key, row in wanted.items():
        own = found[key]
        if row["type"] in ("mounttime", "response_time"):
            # They are measured.
            continue
        if row["plugin"] == "realtime":
            # Its values count up with each run.
            values, theirs = ([values[0] for values in one["rows"]] for one in (own, row))
            assert values[: len(theirs)] == theirs and len(values) <= 2 * len(theirs) + 1
            continue
        assert len(own["rows"]) == len(row["rows"]), key
        for ours, theirs in zip(own["rows"], row["rows"]):
            assert [same(one, other) for one, other in zip(ours, theirs)] == [True] * len(theirs), (key, ours, theirs)
        # The original has begun and ended at other moments; on a busy machine both run less often than they should.
        most = max(own["n"], row["n"])
        assert 2 * min(own["n"], row["n"]) + 1 >= most, (key, own["n"], row["n"])


def same(ours, theirs):
    if theirs is None:
        return isinstance(ours, float) and not math.isfinite(ours)
    return math.isclose(ours, theirs, rel_tol=1e-12)


def assert_same_log(result, case):
    """Compares the records; of those that a loop repeats, that they are there."""

    def tidy(record):
        # Newer Pythons mark the part of the line.
        record = re.sub(r"\n +[~^]+$", "", record)
        return re.sub(r"0x[0-9a-f]+|[0-9a-f]{32}|\d{10}\.\d+", "N", case.hide(record))

    records = []
    for line in case.expected("log.txt").splitlines():
        if line.startswith("["):
            records.append(line)
        elif records and not line.startswith(NOT_OURS):
            records[-1] += "\n" + line
    wanted = {
        tidy(one)
        for one in records
        if not one.startswith(NOT_OURS) and "Value too old: name = casehost/prom" not in one
    }
    ours = {tidy(one) for one in result.log if not one.startswith(("[debug]", *NOT_OURS))}
    # On a busy machine any run may be slow.
    slow = {one for one in wanted ^ ours if one.startswith("[warning] plugin_read_thread: read-function of ")}
    wanted, ours = wanted - slow, ours - slow
    loud = "LogTraces true" in (case.folder / "python.conf").read_text()
    if not loud:
        ours = {one for one in ours if not is_of_traceback(one, result)}
    ours = {one for one in ours if "Replacing DS" not in one and "Value too old: name = casehost/prom" not in one}
    if result.failure is not None:
        wanted = {one for one in wanted if "Initialization complete" not in one}
    assert ours == wanted


def is_of_traceback(record, result):
    text = record.partition("] ")[2]
    exceptions = [re.split(r" in [a-z ]+: ", one)[-1] for one in result.log if "Unhandled python exception" in one]
    return text.startswith(("Traceback (most", "  File")) or text in exceptions


@pytest.mark.parametrize("name", [name for name, _ in cases()] or ["none"])
def test_a_case_gives_what_the_original_gives(name):
    if name == "cuda" and sys.version_info < (3, 9):
        pytest.skip("what it calls is there before Python 3.9")
    case, result = ran(name)
    assert_same_series(as_series(result.lists, case), case.expected("series.jsonl"), case.spec)
    assert_same_log(result, case)
    assert_rows_are_those_of(result)
    if case.expected("exit.txt").strip() == "1":
        assert result.failure is not None
    else:
        assert result.failure is None, result.failure
    for extra in case.spec.get("files", []):
        check_file(extra, case)


def check_file(name, case):
    # The original shows memory that it has freed, which may have ends of lines in it.
    shown = re.sub(
        r"(get_dataset nope -> TypeError: Dataset ).*?( not found\n)", r"\1?\2", case.expected(name), flags=re.S
    )
    ours, theirs = case.hide((case.dir / name).read_text()).splitlines(), shown.splitlines()
    if case.folder.name in WANTED:
        # What Python itself adds to its classes, and its own words, are of another Python than the original's.
        if sys.version_info[:2] != (3, 11):
            pytest.skip("the texts of this surface are those of Python 3.11")
        different = [(one, other) for one, other in zip(ours, theirs) if one != other]
        assert len(ours) == len(theirs)
        assert [one for one, _ in different if not one.startswith("sys.version")] == WANTED[case.folder.name]
    else:
        assert sorted(ours) == sorted(theirs)


def assert_rows_are_those_of(result):
    """Each finite value list has become one row, with its identity as tags."""
    rows = collections.Counter()
    for measurement, tags, _, readings in result.rows:
        rows[measurement, tags["host"], tags["type"], tuple(json.dumps(one[1]) for one in readings)] += 1
    lists = collections.Counter()
    for one in result.lists:
        values = [value for value in one["values"] if math.isfinite(value)]
        if values:
            lists[one["plugin"], one["host"], one["type"], tuple(json.dumps(value) for value in values)] += 1
    assert rows == lists


# Wanted: a counter that was reset gives no rate instead of a huge one.
RESET = {"c_reset_gt32": [1], "c_reset_small": [1], "reset": [1]}


@pytest.mark.parametrize("name", [name for name, _ in with_rates()])
def test_rates_are_those_of_the_original_but_for_resets(name):
    case, result = ran(f"{name}, as rates")
    found = rates.of_rows(result.rows)
    for row in case.expected("rates.jsonl"):
        names = [source.partition(":")[0] for source in row["ds"]]
        ours = found[row["plugin"], row["type"], row["type_instance"]]
        if row["plugin"] == "realtime":
            values = [fields["value"] for fields in ours[1:]]
            assert values and all(math.isclose(value, 7, rel_tol=0.2) for value in values)
            continue
        theirs = [dict(zip(names, values)) for values in row["rows"]]
        if row["ds"] == ["value:gauge"]:
            # A gauge that is no number makes no point.
            theirs = [fields for fields in theirs if fields["value"] is not None]
        for place in RESET.get(row["type_instance"] or row["plugin"], ()):
            assert theirs[place]["value"] > 1e8
            theirs[place] = {"value": None}
        assert len(ours) == len(theirs), row["plugin"]
        for fields, wanted in zip(ours, theirs):
            for field, value in wanted.items():
                given = fields.get(field)
                assert (given is None) == (value is None), (row["plugin"], ours, theirs)
                assert value is None or math.isclose(given, value, rel_tol=1e-6, abs_tol=1e-9), (row["plugin"], given)


def test_a_failing_read_is_suspended_for_2_4_8_intervals():
    _, result = ran("puppet")
    at = [at for key, at, failed in result.runs if key == "python.collectd_puppet"]
    assert [round(later - earlier) for earlier, later in zip(at, at[1:])] == [2, 4]


def test_a_config_callback_that_raises_names_both_lines():
    failure = ran("haproxy_nosocket")[1].failure
    assert failure["code"] == "PD0203"
    assert failure["msg"].startswith(
        "config callback of haproxy raised RuntimeError: Unable to unregister init callback"
    )
    assert failure["file"].endswith("collectd_haproxy/plugin.py") and failure["line"] == 88
    assert re.search(r"collectd.conf:\d+:\d+: <Module haproxy>", failure["notes"][-1])
