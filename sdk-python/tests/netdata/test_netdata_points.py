"""What charts become: measurement, tags, fields, kinds."""

import time

import pytest

CHARTS = """\
from bases.FrameworkServices.SimpleService import SimpleService
ORDER = ["cache", "net", "bare"]
CHARTS = {
    "cache": {"options": [None, "Cache", "MiB", "cache", "memcached.cache", "stacked"], "lines": [
        ["avail", "available", "absolute", 1, 1048576], ["used", "used", "absolute", 1, 1048576]]},
    "net": {"options": ["my_net", "Net", "kilobits/s", "network", "memcached.net", "area"], "lines": [
        ["in", "in", "incremental", 8, 1000], ["out", "out", "incremental", -8, 1000, "hidden"],
        ["p", "p", "percentage-of-absolute-row"], ["q", "q", "percentage-of-incremental-row"]]},
    "bare": {"options": [None, "t", "", "", "", "line", "hidden"], "lines": [[7, ""], ["a", "twin"], ["b", "twin"]]},
}
DATA = {"avail": 67108799, "used": 65, "in": 2 ** 64 - 1, "out": 5, "p": 3, "q": 4, 7: 1, "a": 1, "b": 2}
class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order, self.definitions = ORDER, CHARTS
    def get_data(self): return DATA
"""


@pytest.fixture
def rows(lab):
    """Runs the module once; returns its rows by measurement."""

    def run(id="netdata.memcached", conf=None, **settings):
        before = time.time_ns()
        lab.module("", name="memcached", head=CHARTS, conf=conf)
        found = lab.run(id, **settings)
        assert len({row.time_ns for row in found}) == 1 and before <= found[0].time_ns <= time.time_ns()
        return {row.measurement: row for row in found}

    return run


def readings(row):
    return [(one.field, one.value, one.kind, one.scale, one.wrap, one.out, one.raw_field) for one in row.readings]


def test_a_chart_is_a_row_with_the_context_as_measurement(rows, needs_yaml):
    row = rows("netdata.memcached:local", conf="tcp: {name: local, labels: {dc: eu1}}\n")["memcached.cache"]
    assert row.tags == {
        "chart": "memcached_local.cache",
        "family": "cache",
        "units": "MiB",
        "module": "memcached",
        "job": "tcp",
        "dc": "eu1",
    }
    assert readings(row) == [
        ("available", 67108799.0, "gauge", 1 / 1048576, None, "rate", ""),
        ("used", 65.0, "gauge", 1 / 1048576, None, "rate", ""),
    ]
    assert row.readings[0].value * row.readings[0].scale == pytest.approx(63.99993801116943, abs=1e-14)


def test_each_algorithm_has_its_kind_and_counters_stay_exact(rows):
    assert readings(rows()["memcached.net"]) == [
        ("in", 2**64 - 1.0, "counter", 0.008, "auto", "rate", ""),
        ("out", 5, "counter", -0.008, "auto", "rate", ""),
        ("p", 3.0, "row_percent", 1.0, None, "rate", ""),
        ("q", 4.0, "row_percent_inc", 1.0, None, "rate", ""),
    ]


def test_without_a_context_module_and_chart_are_the_measurement_and_empty_tags_are_left_out(rows):
    row = rows()["memcached.bare"]
    assert row.tags == {"chart": "memcached.bare", "module": "memcached", "job": "memcached"}


def test_two_dimensions_of_one_name_are_told_apart_by_the_id(rows, lab):
    assert [one.field for one in rows()["memcached.bare"].readings] == ["7", "twin", "b"]
    assert any("two dimensions of the name `twin`" in text for _, text, *_ in lab.host.warnings)


def test_raw_values_are_what_was_collected(rows):
    assert readings(rows(values="raw")["memcached.net"])[0] == ("in", 2**64 - 1.0, "gauge", 1.0, None, "rate", "")
    assert readings(rows(values="raw")["memcached.cache"])[0][1:4] == (67108799.0, "gauge", 1.0)


def test_both_are_sent_under_two_names(rows):
    assert readings(rows(values="both")["memcached.net"])[1] == ("out", 5, "counter", -0.008, "auto", "both", "out_raw")


@pytest.mark.parametrize(("fractions", "value"), [(True, 1.9), (False, 1.0)])
def test_fractions_are_kept_unless_the_settings_say_otherwise(lab, fractions, value):
    lab.module("def get_data(self): return {'v': 1.9}")
    assert lab.run(fractions=fractions)[0].readings[0].value == value


def test_a_value_that_is_no_number_is_left_out_and_named_with_the_jobs_place(lab, tmp_path, needs_yaml):
    lab.module("def get_data(self): return {'v': 1, 'w': 'abc'}", conf="\na: {}\n")
    source = (tmp_path / "m.chart.py").read_text().replace('["v"]', '["v"], ["w"]')
    (tmp_path / "m.chart.py").write_text(source)
    (row,) = lab.run("netdata.m:a", times=2)
    assert [one.field for one in row.readings] == ["v"]
    text = "dimension `w` of chart `m_a.c`: 'abc' is no number"
    assert lab.host.warnings == [("PD0415", text, str(tmp_path / "m.conf"), 2, 1)]


def test_a_chart_that_cannot_be_added_is_warned_of_as_it_is_written(lab, tmp_path):
    lab.module("def get_data(self): return {'v': 1}")
    source = (tmp_path / "m.chart.py").read_text().replace('["v"]', '["v"], ["v", "again"]')
    (tmp_path / "m.chart.py").write_text(source)
    lab.run()
    assert lab.host.warnings[0][:2] == (
        "PD0810",
        "dimension ['v', 'again'] was not added: 'v' already in 'm.c' dimensions",
    )
