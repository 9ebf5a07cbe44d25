"""Value lists as rows and notifications as events: the examples of the documentation."""

import json
import math

import pytest

import collectd_lab as lab


def dispatched(**keys):
    """Runs a callback and returns its rows as the points that they are: name, tags, fields."""
    import collectd

    def run(call):
        host = lab.Host(**keys)
        with lab.daemon_of(host=host) as daemon:
            daemon.settings.texts["hostname"] = "web01"
            call(collectd)
            daemon.close()
        return [lab.plain(row) for row in host.rows]

    return run


def values(**named):
    return lambda collectd: collectd.Values(**named).dispatch()


def test_join_makes_one_row_of_a_list():
    assert dispatched()(values(type="load", plugin="load", values=[0.5, 0.4, 0.3])) == [
        ("load", {"host": "web01", "type": "load"}, {"shortterm": 0.5, "midterm": 0.4, "longterm": 0.3})
    ]
    assert dispatched()(values(type="if_octets", plugin="interface", plugin_instance="eth0", values=[120, 88])) == [
        ("interface", {"host": "web01", "instance": "eth0", "type": "if_octets"}, {"rx": 120, "tx": 88})
    ]
    named = {"type": "gauge", "plugin": "redis_info", "plugin_instance": "6379", "type_instance": "connected_clients"}
    tags = {"host": "web01", "instance": "6379", "type": "gauge", "type_instance": "connected_clients"}
    assert dispatched()(values(values=[4], **named)) == [("redis_info", tags, {"value": 4.0})]


def test_split_makes_a_row_of_each_number():
    rows = dispatched(mapping="split")(values(type="load", plugin="load", values=[0.5, 0.4, 0.3]))
    tags = {"host": "web01", "type": "load"}
    assert rows == [
        ("load_shortterm", tags, {"value": 0.5}),
        ("load_midterm", tags, {"value": 0.4}),
        ("load_longterm", tags, {"value": 0.3}),
    ]
    ((_, _, fields),) = dispatched(mapping="split")(values(type="counter", plugin="c", values=[7]))
    assert isinstance(fields["value"], float)


@pytest.mark.parametrize(
    "rates, expected",
    [
        (False, ("value", "raw", "value")),
        (True, ("value", "rate", "")),
        ("both", ("value_rate", "both", "value")),
    ],
)
def test_counters_are_raw_or_rates_or_both(rates, expected):
    host = lab.Host(store_rates=rates)
    with lab.daemon_of(host=host) as daemon:
        values(type="counter", plugin="c", values=[7], interval=5)(__import__("collectd"))
        daemon.close()
    (reading,) = host.rows[0].readings
    assert (reading.field, reading.out, reading.raw_field) == expected
    assert reading.raw_type == ("float" if reading.out == "rate" else "integer")
    assert reading.kind == "counter" and isinstance(reading.value, int)
    if rates:
        assert (reading.wrap, reading.max_gap) == ("auto", 10.0)


def test_a_row_has_the_interval_of_its_value_list():
    host = lab.Host(store_rates=True)
    with lab.daemon_of(host=host) as daemon:
        values(type="absolute", plugin="a", values=[7], interval=60)(__import__("collectd"))
        daemon.close()
    assert host.rows[0].interval == 60.0


def test_the_range_of_a_type_is_for_its_rate():
    host = lab.Host(store_rates=True)
    with lab.daemon_of(host=host) as daemon:
        collectd = __import__("collectd")
        values(type="derive", plugin="d", values=[7])(collectd)
        values(type="percent", plugin="p", values=[150])(collectd)
        daemon.close()
    derive, percent = (row.readings[0] for row in host.rows)
    assert (derive.min, derive.max) == (0.0, None)
    assert (percent.value, percent.min, percent.max) == (150.0, None, None)


def test_a_gauge_that_is_no_number_is_left_out():
    assert dispatched()(values(type="gauge", plugin="g", values=[math.nan])) == []
    ((_, _, fields),) = dispatched()(values(type="load", plugin="l", values=[1, math.inf, -math.inf]))
    assert fields == {"shortterm": 1.0}


@pytest.mark.parametrize(
    "name, tags",
    [
        ("inst[k=v,k2=v2]", {"instance": "inst", "k": "v", "k2": "v2"}),
        ("[k=v]", {"k": "v"}),
        ("inst[host=other]", {"instance": "inst", "dimension_host": "other"}),
        ("inst[0]", {"instance": "inst[0]"}),
        ("a[b]c[d=e]", {"instance": "a[b]c[d=e]"}),
        ("inst[k=]", {"instance": "inst"}),
        ("inst[k=v", {"instance": "inst[k=v"}),
        ("i[" + "k=v," * 25 + "last=" + "x" * 50, {"instance": "i", "k": "v", "last": "x" * 20}),
    ],
)
def test_dimensions_of_the_plugin_instance_become_tags(name, tags):
    ((_, found, _),) = dispatched()(values(type="gauge", plugin="g", plugin_instance=name, values=[1]))
    assert found == {"host": "web01", "type": "gauge", **tags}


def test_dimensions_can_stay_in_the_instance():
    keys = {"dimensions_from_plugin_instance": False}
    ((_, tags, _),) = dispatched(**keys)(values(type="gauge", plugin="g", plugin_instance="i[k=v]", values=[1]))
    assert tags["instance"] == "i[k=v]"


@pytest.mark.parametrize("most, size", [(127, 127), (0, 200), (10, 10)])
def test_names_are_cut_at_so_many_bytes(most, size):
    ((name, _, _),) = dispatched(max_name=most)(values(type="gauge", plugin="p" * 200, values=[1]))
    assert len(name) == size


def test_meta_keys_can_be_tags():
    meta = {"Code": 200, "method": "get", "other": 1, "flag": True}
    run = dispatched(meta_tags=["code", "method", "flag", "none"])
    ((_, tags, _),) = run(values(type="gauge", plugin="g", values=[1], meta=meta))
    assert tags == {"host": "web01", "type": "gauge", "code": "200", "method": "get", "flag": "true"}


def test_the_time_is_that_of_the_list():
    host = lab.Host()
    with lab.daemon_of(host=host) as daemon:
        values(type="gauge", plugin="g", values=[1], time=1700000000.25)(__import__("collectd"))
        daemon.close()
    assert host.rows[0].time_ns == 1700000000250000000


def test_a_notification_becomes_a_key_event():
    collectd = __import__("collectd")
    host = lab.Host()
    with lab.daemon_of(host=host) as daemon:
        daemon.settings.texts["hostname"] = "web01"
        for severity in (collectd.NOTIF_FAILURE, collectd.NOTIF_WARNING, collectd.NOTIF_OKAY, 0):
            collectd.Notification(
                type="gauge",
                plugin="disk",
                plugin_instance="sda",
                severity=severity,
                message="full\nof logs",
                time=1700000000,
                meta={"used": 99.5, "n": 3, "ok": False},
            ).dispatch()
    category, point = host.events[0]
    tags = {"host": "web01", "plugin": "disk", "instance": "sda", "type": "gauge"}
    assert (category, point["tags"], point["time"]) == ("keyevent", tags, 1700000000000000000)
    fields = point["fields"]
    assert json.loads(fields.pop("df_dimension_tags")) == tags
    assert fields.pop("df_event_id").startswith("event-")
    assert fields == {
        "df_source": "monitor",
        "df_status": "critical",
        "df_date_range": 10,
        "df_title": "full",
        "df_message": "full\nof logs",
        "meta_used": 99.5,
        "meta_n": 3,
        "meta_ok": False,
    }
    assert [point["fields"]["df_status"] for _, point in host.events] == ["critical", "warning", "ok", "info"]


def test_an_event_is_known_by_its_thing_and_time():
    collectd = __import__("collectd")
    host = lab.Host()
    with lab.daemon_of(host=host):
        for time, plugin in ((1, "a"), (1, "a"), (2, "a"), (1, "b")):
            collectd.Notification(type="gauge", plugin=plugin, message="m", time=time).dispatch()
    first, same, later, other = (point["fields"]["df_event_id"] for _, point in host.events)
    assert first == same and len({first, later, other}) == 3
