"""The life of a job: check, create, runs, failures, ways; with a fake host."""

import builtins
import threading

import pytest

from fake_host import FakeHost, load
from netdata.conftest import HEAD, SERVICE
from pythond import loader
from pythond.dialects import NotYet, netdata
from pythond.dialects.netdata import life, loop

GOOD = "def get_data(self): return {'v': self.runs_counter}"


def test_init_check_and_create_happen_in_the_jobs_own_time(lab):
    lab.module(
        """
        steps = []
        def check(self):
            self.steps.append(("check", len(self.charts)))
            return True
        def create(self):
            self.steps.append("create")
            return SimpleService.create(self)
        def get_data(self):
            self.steps.append(("get_data", len(self.charts)))
            return {"v": 1}
        """
    )
    job = lab.job()
    assert job._ways[0].service is None, "nothing was made yet"
    job.check()
    job.run()
    assert job._way.service.steps == [("check", 0), "create", ("get_data", 1)]


@pytest.mark.parametrize("result", ["True", "'yes'", "{1: 2}", "5"])
def test_any_truthy_check_is_success(lab, result):
    lab.module(f"@staticmethod\ndef check(): return {result}\n" + GOOD)
    assert lab.run()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("def check(self): return False", "check returned False"),
        ("def check(self): return None", "check returned None"),
        ("def get_data(self): return None", "get_data returned None"),
        ("def get_data(self): return {}", "get_data returned {}"),
        ("def get_data(self): return [1]", "get_data returned a list"),
        ("def get_data(self): self.error('no', 'server')", "get_data returned None: no server"),
    ],
)
def test_a_check_that_finds_nothing_waits_and_says_why(lab, body, why):
    job = lab.module(body).job(recheck=60.0)
    with pytest.raises(NotYet) as caught:
        job.check()
    assert caught.value.why == f"its check found nothing to collect ({why}); next check in 60 s"
    assert caught.value.again_in == 60 and job.every == 60


def test_the_job_may_say_when_it_is_checked_again_and_stock_is_patient(lab, needs_yaml):
    job = lab.module("def check(self): return False", conf="a: {autodetection_retry: 4}\n").job("netdata.m:a")
    assert job.every == 4
    job = lab.module("def check(self): return False", conf="a: {}\n").job("netdata.m:a", recheck=7.0)
    assert job.every == 7
    job._ways[0].conf.is_stock = True
    assert job.every == 70


def test_a_service_is_made_once_and_kept_for_the_next_checks(lab):
    lab.module("n = 0\ndef check(self):\n    self.n += 1\n    return self.n == 3\n" + GOOD)
    job = lab.job()
    for _ in range(2):
        with pytest.raises(NotYet):
            job.check()
    first = job._ways[0].service
    job.check()
    assert job._way.service is first and first.n == 3


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("def check(self): raise ValueError('x')", ValueError),
        ("def check(self): exit(1)", SystemExit),
        ("def create(self): raise KeyError('x')\ndef check(self): return True", KeyError),
    ],
)
def test_what_a_check_raises_is_its_failure_each_time_anew(lab, capfd, body, kind):
    job = lab.module(body).job(recheck=9.0)
    for _ in range(2):
        with pytest.raises(kind):
            job.check()
    assert job.every == 9


def test_init_that_raises_is_a_failure_and_tried_again(lab, capfd, tmp_path):
    flag = tmp_path / "flag"
    lab.module(
        f"""
        def __init__(self, configuration=None, name=None):
            SimpleService.__init__(self, configuration=configuration, name=name)
            open({str(flag)!r}).close()
        def get_data(self): return {{"v": 1}}
        """,
        head=SERVICE,
    )
    job = lab.job()
    with pytest.raises(FileNotFoundError):
        job.check()
    flag.write_text("")
    job.check()


def test_the_result_of_create_does_not_matter(lab):
    lab.module("def create(self):\n    SimpleService.create(self)\n    return False\n" + GOOD)
    assert lab.run()


def test_the_first_way_that_finds_something_runs(lab, needs_yaml, capfd):
    conf = "tcp: {name: local, bad: yes}\nboom: {name: local, boom: yes}\nsock: {name: local}\nlast: {name: local}\n"
    lab.module(
        "def check(self):\n"
        "    if self.configuration.get('boom'): raise ValueError('boom')\n"
        "    return not self.configuration.get('bad')\n" + GOOD,
        conf=conf,
    )
    job = lab.job("netdata.m:local")
    job.check()
    assert (job.title, job.line, job.key) == ("by sock", 3, "local")
    assert job._ways[3].service is None, "later ways are not tried"
    job.run()
    assert lab.host.rows[0][0].tags["job"] == "sock"
    assert "unhandled exception : ValueError('boom')" in capfd.readouterr().err


def test_a_way_that_cannot_be_made_is_told_though_another_runs(lab, needs_yaml):
    lab.module(
        """
        def __init__(self, configuration=None, name=None):
            SimpleService.__init__(self, configuration=configuration, name=name)
            self.order, self.definitions = ORDER, CHARTS
            if configuration.get("boom"): raise ValueError("boom")
        def get_data(self): return {"v": 1}
        """,
        head=SERVICE,
        conf="bad: {name: local, boom: yes}\ngood: {name: local}\n",
    )
    job = lab.job("netdata.m:local")
    job.check()
    assert job.title == "by good"
    assert [(one[0], one[1], one[3]) for one in lab.host.warnings] == [
        ("PD0203", "job `bad` cannot be made: ValueError('boom')", 1)
    ]


def test_two_jobs_that_load_their_module_at_once_get_one_each(lab, needs_yaml):
    lab.module("", head="import builtins\nbuiltins.gate_of_m()\n" + SERVICE + "    " + GOOD, conf="a: {}\nb: {}\n")
    began, is_other_in, made, hosts = threading.Event(), threading.Event(), [], []

    def gate():
        # The second load, if it gets here while the first one has not ended, stays until that has.
        if not began.is_set():
            began.set()
            is_other_in.wait(1)
        elif not made:
            is_other_in.set()
            first.join(10)

    def load_one(name, after):
        after.wait(10)
        hosts.append(FakeHost({"dirs": [str(lab.folder)]}))
        made.append(load(netdata, units[name], hosts[-1])._ways[0]._load())

    builtins.gate_of_m = gate
    try:
        units, _, _ = lab.listed()
        ready = threading.Event()
        ready.set()
        first = threading.Thread(target=load_one, args=("netdata.m:a", ready))
        second = threading.Thread(target=load_one, args=("netdata.m:b", began))
        for one in (first, second):
            one.start()
        for one in (first, second):
            one.join(20)
    finally:
        del builtins.gate_of_m
    assert len(made) == 2 and made[0] is not made[1], "one of them got the other's, half run"


def test_where_no_way_finds_anything_each_is_named(lab, needs_yaml):
    lab.module("def check(self): return False", conf="tcp: {name: local}\nsock: {name: local}\n")
    job = lab.job("netdata.m:local")
    with pytest.raises(NotYet, match="tcp, sock: check returned False"):
        job.check()


def test_each_way_and_each_job_has_a_module_of_its_own(lab, needs_yaml):
    body = (
        "def check(self):\n"
        "    CHARTS['c']['lines'].append([str(len(CHARTS['c']['lines']))])\n"
        "    return self.configuration.get('good')\n"
    )
    lab.module(body + GOOD, conf="a: {name: x}\nb: {name: x, good: yes}\nc: {good: yes}\n")
    job = lab.job("netdata.m:x")
    job.check()
    assert job._way.service.charts["c"].dimensions == ["v", "1"]
    job = lab.job("netdata.m:c")
    job.check()
    assert job._way.service.charts["c"].dimensions == ["v", "1"]


def test_a_module_that_cannot_be_loaded_says_why(lab, tmp_path):
    for head, code, words in (
        ("def (\n", "PD0201", "invalid syntax"),
        ("import nobody_has_this\n", "PD0202", "No module named 'nobody_has_this'"),
        ("1 / 0\n", "PD0203", "division by zero"),
        ("class Other: pass\n", "PD0204", "no class `Service` in m.chart.py"),
        ("import sys\nsys.exit(3)\n", "PD0203", "3"),
    ):
        lab.module("", head=head)
        with pytest.raises(loader.Failure) as caught:
            lab.job()
        assert (caught.value.frame["code"], caught.value.frame["file"]) == (code, str(tmp_path / "m.chart.py"))
        assert words in str(caught.value)


def test_a_module_of_before_2017_is_told_so(lab):
    lab.module("", head="def get_data(): pass\n")
    with pytest.raises(loader.Failure) as caught:
        lab.job()
    assert "since netdata 1.6 (2017)" in caught.value.frame["help"]


def test_a_module_may_be_called_like_a_library(lab):
    lab.module(GOOD, name="json")
    assert lab.run("netdata.json")
    import json

    assert hasattr(json, "dumps")


# --- runs ---


def test_interval_is_zero_at_first_and_then_since_the_last_success(lab):
    lab.module(
        "seen = []\n"
        "def update(self, interval):\n    self.seen.append(interval)\n    return SimpleService.update(self, interval)\n"
        "def get_data(self): return {'v': 1} if self.runs_counter != 2 else None\n"
        "def check(self): return True\n"
    )
    job = lab.job()
    job.check()
    job.run()
    with pytest.raises(life.Failed):
        job.run()
    job.run()
    first, second, third = job._way.service.seen
    assert first == 0 and 0 < second < third
    assert job._way.service.runs_counter == 4


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("None", "get_data returned None"),
        ("{}", "get_data returned {}"),
        ("[1]", "get_data returned a list"),
        ("'text'", "get_data returned a str"),
        ("{'v': None}", "get_data returned no number for any dimension: {'v': None}"),
        (
            "{'current_temperature': 5, 'x': 1}",
            "get_data returned current_temperature, x; the dimensions are v",
        ),
    ],
)
def test_a_run_without_values_says_why(lab, data, text):
    job = lab.module(f"def check(self): return True\ndef get_data(self): return {data}").job()
    job.check()
    with pytest.raises(life.Failed) as caught:
        job.run()
    assert str(caught.value) == text


def test_the_nearest_dimension_comes_first(lab):
    head = SERVICE.replace('["v"]', '["humid"], ["current_temp_id"], ["x"]')
    body = "    def check(self): return True\n    def get_data(self): return {'current_temperature': 5}\n"
    (lab.folder / "m.chart.py").write_text(head + body)
    job = lab.job()
    job.check()
    with pytest.raises(life.Failed, match="the dimensions are current_temp_id, "):
        job.run()
    assert lab.host.warnings[0][0] == "PD0413"


def test_keys_without_a_dimension_are_named_once_in_a_module_of_the_users(lab, tmp_path):
    lab.module("def get_data(self): return {'v': 1, 'avg_v`': 2, self.runs_counter: 3}")
    lab.run(times=3)
    (warning,) = lab.host.warnings
    assert warning[0] == "PD0413" and "avg_v`" in warning[1]


def test_what_get_data_raises_passes_and_counts(lab):
    job = lab.module("def check(self): return True\ndef get_data(self): raise SystemExit(3)").job()
    job.check()
    with pytest.raises(SystemExit):
        job.run()
    assert job._way.service._runtime_counters.retries == 1


def test_five_failures_in_a_row_slow_a_job_down_until_the_first_success(lab):
    lab.module("good = False\ndef check(self): return True\ndef get_data(self): return {'v': 1} if self.good else None")
    job = lab.job()
    job.check()
    pauses = []
    for _ in range(15):
        with pytest.raises(life.Failed) as caught:
            job.run()
        pauses.append(job.every)
    assert pauses == [1] * 4 + [3] * 5 + [6] * 5 + [9]
    assert str(caught.value) == "get_data returned None; next run in 9 s, after 15 failures"
    job._way.service.good = True
    job.run()
    assert job.every == 1


def test_penalty_no_switches_it_off(lab, needs_yaml):
    job = lab.module("def check(self): return True\ndef get_data(self): return None", conf="a: {penalty: no}\n").job(
        "netdata.m:a"
    )
    job.check()
    for _ in range(5):
        with pytest.raises(life.Failed):
            job.run()
    assert job.every == 1


@pytest.mark.parametrize(
    ("failures", "every", "seconds"), [(5, 1, 2), (10, 1, 5), (15, 1, 8), (5, 2, 5), (5, 900, 600)]
)
def test_the_pause_is_half_the_failures_rounded_to_even(failures, every, seconds):
    assert loop.penalty(failures, every, 0) == seconds


def test_a_module_may_change_its_interval(lab):
    lab.module("def get_data(self):\n    self.update_every = 2.5\n    return {'v': 1}")
    job = lab.job()
    job.check()
    job.run()
    assert job.every == 2.5
    job._way.service.update_every = "odd"
    assert job.every == 1


def test_the_configured_interval_rules_a_class_attribute(lab, needs_yaml):
    job = lab.module("update_every = 30\n" + GOOD, conf="a: {update_every: 3}\n").job("netdata.m:a")
    job.check()
    assert job.every == 3


def test_the_least_interval_of_the_input_is_the_least(lab):
    job = lab.module(GOOD).job(update_every=10)
    job.check()
    assert job.every == 10


def test_values_before_an_exception_are_sent(lab):
    lab.module(
        "def get_data(self): return {'v': 1}\n"
        "def update(self, interval):\n    SimpleService.update(self, interval)\n    raise ValueError('late')\n"
    )
    job = lab.job()
    job.check()
    with pytest.raises(ValueError):
        job.run()
    assert len(lab.host.rows) == 1


def test_a_run_of_the_modules_own_is_followed(lab):
    lab.module(
        "def get_data(self): return {'v': 1}\n"
        "def run(self):\n    self.update(0)\n    self.update(5)\n    raise ValueError('ended')\n"
    )
    job = lab.job()
    job.check()
    job.run()
    with pytest.raises(ValueError, match="ended"):
        for _ in range(3):
            job.run()
    assert sum(len(rows) for rows in lab.host.rows) == 2


def test_garbage_is_collected_between_runs_when_it_is_time(monkeypatch):
    import gc

    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    now = [0.0]
    monkeypatch.setattr(life.time, "monotonic", lambda: now[0])
    sweep = life.Sweeper(300)
    for moment in (1, 299, 301, 302, 700):
        now[0] = moment
        sweep()
    assert len(collected) == 2
    never = life.Sweeper(0)
    now[0] = 9999
    never()
    assert len(collected) == 2


def test_prints_and_messages_go_to_the_streams(lab, capfd):
    lab.module("def get_data(self):\n    print('SET v = 5')\n    self.info('said')\n    return {'v': 1}")
    lab.run()
    out, err = capfd.readouterr()
    assert out == "SET v = 5\n" * 2 and err == "INFO m[m] : said\n" * 2


def test_the_environment_is_that_of_netdatas_plugins(lab, monkeypatch, tmp_path):
    import os

    monkeypatch.setattr(os, "environ", dict(os.environ))
    lab.module(GOOD).job(conf=[str(tmp_path / "etc")], update_every=5)
    wanted = {"NETDATA_UPDATE_EVERY": "5", "NETDATA_HOSTNAME": "web01", "LC_ALL": "C", "PYTHONUNBUFFERED": "1"}
    assert {key: os.environ[key] for key in wanted} == wanted
    assert os.environ["NETDATA_USER_CONFIG_DIR"] == str(tmp_path / "etc")
    assert "/sbin" in os.environ["PATH"].split(":") and "NETDATA_LIB_DIR" in os.environ


def test_the_protocol_is_printed_in_place_of_rows(lab, capfd, monkeypatch):
    import sys

    lab.module("def get_data(self):\n    print('noise')\n    return {'v': 1.9}")
    out = sys.stdout
    try:
        job = lab.job(protocol=True)
        job.check()
        job.run()
    finally:
        sys.stdout = out
    printed, err = capfd.readouterr()
    assert printed.splitlines()[0].startswith("CHART netdata.runtime_m '' 'Execution time'")
    assert "CHART m.c '' 't' 'u' 'f' 'x.c' line 60000 1 '' 'python.d.plugin' 'm'" in printed
    assert "BEGIN m.c 0\nSET 'v' = 1\nEND\n" in printed and "noise" not in printed and "noise" in err
    assert lab.host.rows == []


def test_a_file_without_a_listing_has_all_of_its_jobs(lab, tmp_path, needs_yaml):
    from fake_host import FakeHost
    from pythond.dialects import Unit

    lab.module(GOOD, conf="a: {}\nb: {}\n")
    host = FakeHost()
    netdata.load(Unit(id="m", file=str(tmp_path / "m.chart.py"), input="netdata"), host)
    assert [job.key for job in host.jobs] == ["a", "b"]


def test_the_sample_runs():
    from fake_host import FakeHost
    from pythond.dialects import Unit
    from pythond.dialects.netdata import surroundings

    host = FakeHost()
    try:
        for _ in range(2):
            netdata.load(Unit(id="", file=netdata.SAMPLE), host)
            host.jobs[-1].check()
            host.jobs[-1].run()
            netdata.forget()
    finally:
        surroundings.find_ours()
    assert len(host.rows) == 2 and host.warnings == []


def test_a_job_that_is_gone_from_its_file_is_named(lab, tmp_path, needs_yaml):
    from fake_host import load

    # What the listing cannot hand over as it is, a date here, is read again.
    units, _, _ = lab.module(GOOD, conf="a: {since: 2020-01-02}\n").listed()
    assert "ways" not in units["netdata.m:a"].parts
    for text, code in (("b: {}\n", "PD0802"), ("a: {update_every: x}\n", "PD0802"), ("a: [", "PD0801")):
        (tmp_path / "m.conf").write_text(text)
        with pytest.raises(loader.Failure) as caught:
            load(netdata, units["netdata.m:a"], lab.host)
        assert caught.value.frame["code"] == code and caught.value.frame["file"] == str(tmp_path / "m.conf")


def test_a_class_of_another_file_works_too(lab, tmp_path, monkeypatch):
    (tmp_path / "helper_of_m.py").write_text(
        HEAD + SERVICE[len(HEAD) :].replace("class Service", "class Base") + "    " + GOOD
    )
    lab.module("", head="from helper_of_m import Base\nclass Service(Base): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert lab.run()[0].tags["module"] == "m"
