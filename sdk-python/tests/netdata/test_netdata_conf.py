"""`<module>.conf` and `python.d.conf`: what they mean, and each mistake with its place."""

import pytest

from pythond.dialects.netdata import confs, job_confs
from pythond.dialects.netdata.enabled import Enabled

pytestmark = pytest.mark.usefixtures("needs_yaml")


@pytest.fixture
def read(tmp_path):
    """Reads a text as the configuration of the module `m`."""

    def reading(text):
        path = tmp_path / "m.conf"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return confs.read("m", str(path), False, lambda path: open(path, "rb").read())

    return reading


def places(conf):
    return [(fault.severity, fault.code, fault.line, fault.column) for fault in conf.faults]


def configuration(job, module_globals=None, least=1):
    return job.configuration(module_globals or {}, least, lambda path: open(path, "rb").read())


def test_a_mapping_at_the_top_makes_many_jobs_in_the_order_of_the_file(read):
    conf = read("update_every: 5\npriority: 7\nb: {url: x}\na:\n  update_every: 2\n  name: 'my  name'\n'c d': {}\n")
    assert conf.faults == []
    assert [(job.key, job.actual_name, job.line) for job in conf.jobs] == [
        ("b", "b", 3),
        ("a", "my_name", 4),
        ("c_d", "c_d", 7),
    ]
    first, second, _ = [configuration(job) for job in conf.jobs]
    assert (first["update_every"], first["priority"], first["url"]) == (5, 7, "x")
    assert (second["update_every"], second["override_name"], second["job_name"]) == (2, "my_name", "a")
    assert "name" not in second


def test_a_file_without_mappings_is_one_job_of_the_modules_name(read):
    conf = read("foo: 1\nlst: [1, 2]\nname: nm\npass: 0123\n")
    (job,) = conf.jobs
    assert (job.key, job.actual_name) == ("m", "nm")
    made = configuration(job)
    assert (made["foo"], made["lst"], made["job_name"], made["override_name"]) == (1, [1, 2], "m", "nm")


@pytest.mark.parametrize("text", ["", "# only words\n", "---\n", "null\n"])
def test_an_empty_file_is_one_job_with_defaults(read, text):
    conf = read(text)
    assert conf.faults == [] and [job.key for job in conf.jobs] == ["m"]
    assert configuration(conf.jobs[0]) == {"job_name": "m", "override_name": "", **job_confs.BASE}


def test_what_counts_is_the_jobs_then_the_files_then_the_modules_then_the_base(read):
    a, b = read("update_every: 5\na: {update_every: 9}\nb: {}\n").jobs
    module_globals = {"update_every": 7, "priority": 1, "penalty": False, "chart_cleanup": "no number", "retries": 3}
    assert [one.resolved("update_every", module_globals) for one in (a, b)] == [9, 5]
    assert [b.resolved(name, module_globals) for name in ("priority", "penalty", "chart_cleanup")] == [1, False, 10]
    assert b.resolved("update_every", {}, 60) == 60, "the input's least is the least"


def test_the_configuration_is_a_copy_of_its_own(read):
    (job,) = read("a: {list: [1]}\n").jobs
    configuration(job)["list"].append(2)
    assert configuration(job)["list"] == [1]


def test_yes_and_no_are_booleans_and_numbers_stay_numbers(read):
    (job,) = read("a: {on1: yes, off1: 'no', pass: 1234, deep: {x: on}}\n").jobs
    assert job.keys == {"on1": True, "off1": "no", "pass": 1234, "deep": {"x": True}}


def test_merged_mappings_count(read):
    conf = read("base: &base {url: x, port: 1}\nother:\n  <<: *base\n  port: 2\n")
    assert conf.faults == [] and conf.jobs[1].keys == {"url": "x", "port": 2}


@pytest.mark.parametrize(
    ("text", "place", "words", "jobs"),
    [
        ("a: [", ("error", "PD0801", 1, 5), "expected the node content", []),
        ("a:\n\turl: x\n", ("error", "PD0801", 2, 1), "YAML does not allow tabs here", []),
        ("- a\n", ("error", "PD0801", 1, 1), "is a list", []),
        (b"a: \xff\n", ("error", "PD0801", 1, 4), "is no UTF-8", []),
        ("a:\n  url: 'x\n  port: 1\n", ("error", "PD0801", 2, 8), "a quoted scalar that begins here", []),
        ("a: {x: 1\nb: 2\n", ("error", "PD0801", 2, 2), "a flow mapping that begins in line 1", []),
        ("a: {}\n---\nb: {}\n", ("error", "PD0801", 2, 1), "a single document in the stream but found", []),
        ("a:\n  x: 1\n   y: 2\n", ("error", "PD0801", 3, 5), "mapping values are not allowed here", []),
        ('a:\n  update_every: "5"\n', ("warning", "PD0802", 2, 17), "taken as 5", ["a"]),
        ("a:\n  update_every: fast\nb: {}\n", ("error", "PD0802", 2, 17), "must be a number of seconds above 0", ["b"]),
        ("a: {update_every: -1}\n", ("error", "PD0802", 1, 19), "must be a number of seconds above 0", []),
        ("a: {update_every: 0}\n", ("error", "PD0802", 1, 19), "must be a number of seconds above 0", []),
        ("a: {update_every: yes}\n", ("error", "PD0802", 1, 19), "must be a number of seconds above 0", []),
        ("a: {update_every: }\n", ("warning", "PD0802", 1, 5), "is empty; the default is taken", ["a"]),
        ("update_every: x\na: {}\nb: {update_every: 2}\n", ("error", "PD0802", 1, 15), "seconds above 0", ["b"]),
        ("a: {priority: x}\n", ("warning", "PD0802", 1, 15), "60000 is taken", ["a"]),
        ("a: {chart_cleanup: -1}\n", ("error", "PD0802", 1, 20), "a number of runs", []),
        ("a: {autodetection_retry: x}\n", ("error", "PD0802", 1, 26), "a number of seconds", []),
        ("a: {penalty: 'no'}\n", ("warning", "PD0802", 1, 14), "taken as no", ["a"]),
        ("a: {penalty: maybe}\n", ("error", "PD0802", 1, 14), "must be yes or no", []),
        (
            "tcp: {x: 1}\ntcp: {x: 2}\n",
            ("warning", "PD0802", 2, 1),
            "job tcp is given twice: here and in line 1",
            ["tcp"],
        ),
        (
            "a:\n  url: x\n  url: y\n",
            ("warning", "PD0802", 3, 3),
            "url of job a is given twice: here and in line 2",
            ["a"],
        ),
        ("a:\nb: {}\n", ("warning", "PD0802", 1, 1), "a job must have a key", ["b"]),
        ("8080: {}\n", ("warning", "PD0802", 1, 1), "taken as text", ["8080"]),
        ("a: {name: 7}\n", ("warning", "PD0802", 1, 11), "taken as text", ["a"]),
        ("a: {name: [x]}\n", ("error", "PD0802", 1, 11), "must be text", []),
        (
            "url: x\na: {}\n",
            ("warning", "PD0802", 1, 1),
            "url is not used: this file has jobs; put it into a job",
            ["a"],
        ),
        ("a: {labels: 5}\n", ("warning", "PD0802", 1, 13), "`labels` makes no tags", ["a"]),
        ("a: {pass: '${env:NOBODY_SET_THIS}'}\n", ("error", "PD0802", 1, 11), "no `NOBODY_SET_THIS`", []),
        ("a: {pass: '${file:nobody}'}\n", ("error", "PD0802", 1, 11), "cannot be read", []),
        ("a: !odd {}\nb: {x: !odd y}\n", ("error", "PD0801", 2, 8), "constructor", ["a"]),
        ("a: {when: 2001-99-99}\n", ("error", "PD0801", 1, 11), "", []),
    ],
)
def test_each_mistake_has_its_place_and_the_rest_runs(read, text, place, words, jobs):
    conf = read(text)
    assert places(conf) == [place], [fault.text for fault in conf.faults]
    fault = conf.faults[0]
    assert words in fault.text and fault.file.endswith("m.conf")
    assert fault.source == text.splitlines()[place[2] - 1] if isinstance(text, str) else True
    assert [job.key for job in conf.jobs] == jobs


@pytest.mark.parametrize("text", ["a:\n  url: x\t# y\n", "a:\t\n  url: x\n"])
def test_a_tab_that_only_a_fast_parser_takes_is_named(read, text):
    conf = read(text)
    assert conf.jobs == [] and conf.faults[0].text.startswith("YAML does not allow tabs here")


def test_a_set_is_no_job(read):
    (job,) = read("names: !!set {a, b}\n").jobs
    assert (job.key, configuration(job)["names"]) == ("m", {"a", "b"})


def test_all_mistakes_are_found_in_one_pass(read):
    conf = read("x: 1\n1: {update_every: a, priority: b}\nok: {}\n")
    assert [fault.line for fault in conf.faults] == [1, 2, 2, 2]
    assert [job.key for job in conf.jobs] == ["ok"]


def test_a_number_in_quotes_counts(read):
    (job,) = read("a: {update_every: '2.5', name: 7, labels: {dc: eu1, rack: 7}}\n").jobs
    assert (job.resolved("update_every", {}), job.actual_name) == (2.5, "7")
    assert job.labels == {"dc": "eu1", "rack": "7"}


def test_secrets_are_filled_only_where_they_are_the_whole_value(read, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "s3cret")
    (tmp_path / "pw").write_text("from file\n")
    (job,) = read("a: {x: '${env:SECRET}', y: ['${file:pw}'], z: 'a ${env:SECRET}', deep: {w: '${env:SECRET}'}}\n").jobs
    assert "s3cret" not in repr(job.keys), "what is kept has no secrets"
    made = configuration(job)
    assert (made["x"], made["y"], made["z"], made["deep"]["w"]) == (
        "s3cret",
        ["from file"],
        "a ${env:SECRET}",
        "s3cret",
    )


# --- python.d.conf ---


@pytest.fixture
def enabled(tmp_path):
    """Reads texts as `python.d.conf`, the stock one first."""
    from fake_host import FakeHost

    def reading(*texts):
        made = Enabled()
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.conf"
            path.write_text(text)
            made.read(str(path), FakeHost())
        return made

    return reading


def test_without_a_file_all_modules_run_but_those_that_say_otherwise(enabled):
    made = enabled()
    assert made.off("x", "/x.chart.py", 0) == "" and made.gc_seconds == 300
    assert made.off("x", "/x.chart.py", 3) == "/x.chart.py:3: disabled_by_default"


def test_the_users_file_is_merged_over_the_stock_one_key_by_key(enabled, tmp_path):
    made = enabled("enabled: yes\nexample: no\nother: no\n", "example: yes\ndefault_run: no\ngc_interval: 5\n")
    assert made.off("example", "p", 9) == "", "an explicit yes"
    assert made.off("other", "p", 0) == f"{tmp_path}/0.conf:3: other: no"
    assert made.off("third", "p", 0) == f"{tmp_path}/1.conf:2: default_run: no"
    assert made.gc_seconds == 5
    assert enabled("gc_run: no").gc_seconds == 0


def test_enabled_no_is_for_all(enabled, tmp_path):
    assert enabled("enabled: no\nx: yes\n").off("x", "p", 0) == f"{tmp_path}/0.conf:1: enabled: no"


@pytest.mark.parametrize(
    ("text", "is_off", "words"),
    [
        ("x: 0\n", True, "`x` is 0; taken as no"),
        ("x:\n", True, "`x` is empty; taken as no"),
        ("x: 1\n", False, "`x` is 1; taken as yes"),
        ("enabled: 0\n", True, "`enabled` is 0; taken as no"),
        ("default_run: ~\n", True, "`default_run` is ~; taken as no"),
    ],
)
def test_what_is_empty_or_0_switches_off(enabled, text, is_off, words):
    made = enabled(text)
    assert bool(made.off("x", "x.chart.py", 0)) is is_off
    # By itself it would not run: a number switches it on.
    assert is_off or not made.off("x", "x.chart.py", 3)
    assert [(one.severity, one.text) for one in made.faults[0].found] == [("warning", words)]


def test_what_is_wrong_with_it_has_a_place(enabled):
    made = enabled("enabled: 'no'\nx: maybe\ngc_interval: soon\nnginks: yes\nmysql: no\ny: yes\ny: no\n")
    made.name_unknown({"nginx", "y"})
    (noted,) = made.faults
    assert [(one.severity, one.line, one.column) for one in noted.found] == [
        ("warning", 7, 1),
        ("warning", 1, 10),
        ("error", 2, 4),
        ("error", 3, 14),
        ("warning", 4, 1),
    ]
    assert noted.found[4].text == "no module nginks; did you mean nginx"
    assert enabled("a: [").faults[0].found[0].code == "PD0801"


def test_without_pyyaml_the_flat_file_is_read_by_lines(enabled, monkeypatch):
    from pythond.dialects.netdata import marked

    monkeypatch.setattr(marked, "yaml", None)
    made = enabled("# words\nenabled: yes\nx: 'no'  # why\ngc_interval: 7\n")
    assert made.off("x", "p", 0).endswith(":3: x: no") and made.gc_seconds == 7


@pytest.mark.parametrize(
    "value",
    ["2020-01-02", "2020-01-02 03:04:05", "{1: x}", "{a: {yes: 1}}", "!!binary aGk=", "!!set {a, b}", ".nan",
     "!!pairs [a: 1]", "[" * 60 + "1" + "]" * 60 + "\n  y: " + "x" * 20_000],
)  # fmt: skip
def test_what_json_would_change_is_not_packed(read, value):
    assert job_confs.packed(read(f"a:\n  x: {value}\n").jobs) is None


def test_what_is_packed_comes_back_as_it_was(read):
    text = "a: {x: [1, 1.0, 1e300, .inf, 0x10, 123456789012345678901, null, yes, 'é\\ud800', {z: 1, a: {}}], name: n}\n"
    jobs = read(text + "penalty: no\nb: {url: '${file:pw}', labels: {dc: eu}, update_every: 2.5}\n").jobs
    back = job_confs.unpacked(job_confs.packed(jobs), jobs[0].conf, False)

    def shown(job):
        return [repr(getattr(job, name)) for name in job_confs.JobConf.__slots__]

    assert [shown(job) for job in back] == [shown(job) for job in jobs]
