"""DataKit's API: bodies byte for byte, and each of its defects (D33 to D40) mended. Under an agent."""

import logging
import sys
import threading

import pytest

from datakit_framework import DataKitFramework
from pythond.testing import Answer
from support import FarEnd, answer


class Collector(DataKitFramework):
    interval = 1


def sent(agent):
    """Returns path and body of the only request."""
    assert len(agent.requests) == 1
    return agent.requests[0].path, agent.requests[0].body.decode()


BODIES = [
    (
        lambda c: c.feed_metric(measurement="m", fields={"a": 1}, tags={"t": "v"}, k="x"),
        "/v1/write/metric",
        '[{"measurement": "m", "tags": {"t": "v"}, "fields": {"a": 1, "k": "x"}, "time": null}]',
    ),
    (
        lambda c: c.feed_metric("in", "m", None, {"a": 1.5}, 7),
        "/v1/write/metric?input=in",
        '[{"measurement": "m", "tags": null, "fields": {"a": 1.5}, "time": 7}]',
    ),
    (
        lambda c: c.feed_logging(source="s", message="hi", status="error"),
        "/v1/write/logging",
        '[{"measurement": "s", "tags": null, "fields": {"message": "hi", "status": "error"}, "time": null}]',
    ),
    (
        lambda c: c.feed_logging(source="s"),
        "/v1/write/logging",
        '[{"measurement": "s", "tags": null, "fields": {"message": null}, "time": null}]',
    ),
    (
        lambda c: c.feed_object(cls="c", name="n", fields={"a": 1}),
        "/v1/write/object",
        '[{"measurement": "c", "tags": {"name": "n"}, "fields": {"a": 1}, "time": null}]',
    ),
    (
        lambda c: c.feed_object(cls="c", tags={"x": "y"}, fields={"a": 1}, b=2),
        "/v1/write/object",
        '[{"measurement": "c", "tags": {"x": "y", "name": null}, "fields": {"a": 1, "b": 2}, "time": null}]',
    ),
    (
        lambda c: c.feed_user_event("u", {"a": "b"}, 10, "info", "e", "t", "m", x=1),
        "/v1/write/keyevent",
        '[{"measurement": "measurement", "tags": {"a": "b"}, "fields": {"df_date_range": 10, "df_source": "user", '
        '"df_user_id": "u", "df_status": "info", "df_event_id": "e", "df_title": "t", "df_message": "m", "x": 1}}]',
    ),
    (
        lambda c: c.feed_monitor_event('{"h": "w"}', {"a": "b"}, 10, "info", "e", "t", "m"),
        "/v1/write/keyevent",
        '[{"measurement": "measurement", "tags": {"a": "b"}, "fields": {"df_date_range": 10, "df_source": "monitor", '
        '"df_dimension_tags": "{\\"h\\": \\"w\\"}", "df_status": "info", "df_event_id": "e", "df_title": "t", '
        '"df_message": "m"}}]',
    ),
    (
        lambda c: c.feed_system_event({}, 10, "info", "e", "t", df_source="custom"),
        "/v1/write/keyevent",
        '[{"measurement": "measurement", "tags": {}, "fields": {"df_date_range": 10, "df_source": "custom", '
        '"df_status": "info", "df_event_id": "e", "df_title": "t", "df_message": ""}}]',
    ),
    (
        lambda c: c.feed_metric(measurement="é", fields={"ü": "\n"}),
        "/v1/write/metric",
        '[{"measurement": "\\u00e9", "tags": null, "fields": {"\\u00fc": "\\n"}, "time": null}]',
    ),
    (
        lambda c: c.report({"R": [{"measurement": "m", "fields": {"a": True}}], "input": "py_from_docker"}),
        "/v1/write/rum?input=py_from_docker",
        '[{"measurement": "m", "fields": {"a": true}}]',
    ),
    (lambda c: c.report({"CO": ({"measurement": "m", "fields": {"a": 1}},)}), "/v1/write/custom_object", None),
    (
        lambda c: c.set_lasterror("in", "broken"),
        "/v1/lasterror",
        '{"input": "in", "err_content": "broken"}',
    ),
]


@pytest.mark.parametrize("call, path, body", BODIES)
def test_paths_and_bodies_are_datakits(agent, call, path, body):
    assert call(Collector()) == ""
    got_path, got_body = sent(agent)
    assert got_path == path
    assert body is None or got_body == body
    assert agent.requests[0].headers["Content-Type"] == "application/json"


def test_categories_go_in_datakits_order_and_the_last_answer_is_returned(agent):
    agent.answers.extend([Answer(400, "first")] + [Answer(200)] * 4 + [Answer(400, "last")])
    point = [{"measurement": "m", "fields": {"a": 1}}]
    data = dict.fromkeys(("E", "CO", "O", "R", "L", "M", "N", "T"), point)
    assert Collector().report(data) == "last"
    assert [one.category for one in agent.requests] == [
        "metric",
        "logging",
        "rum",
        "object",
        "custom_object",
        "keyevent",
    ]


def test_what_report_returns_and_raises_for_no_data_is_datakits(agent):
    collector = Collector()
    assert collector.report({}) == ""
    assert collector.report({"M": [], "L": None}) == ""
    assert collector.report(dict.fromkeys(("M", "L", "R", "O", "CO", "E"))) is None
    assert collector.report([{"measurement": "m"}]) == ""
    for wrong in (None, "text", "M"):
        with pytest.raises(TypeError):
            collector.report(wrong)
    assert agent.requests == []
    assert ["needs a dict" in one.reason for one in agent.rejections] == [True]  # the list is not lost in silence


def test_a_raw_post_has_no_content_type(agent):
    assert Collector().http_post_raw(Collector().construct_url("v1/write/metric"), "m f=1") == ""
    assert sent(agent)[1] == "m f=1"
    assert "Content-Type" not in agent.requests[0].headers


def test_raw_bytes_are_sent_as_bytes(agent):
    Collector().http_post_raw(Collector().construct_url("v1/write/metric"), b"m f=1")
    assert sent(agent)[1] == "m f=1"


def test_post_core_gets_posts_and_ignores_other_methods(agent):
    url = Collector().construct_url("v1/ping")
    agent.answers.append(Answer(200, "pong"))
    assert Collector().http_post_data_core(url, "ignored", "GET", True) == "pong"
    assert (agent.requests[0].method, agent.requests[0].body) == ("GET", b"")
    assert Collector().http_post_data_core(url, "x", "PUT", True) == ""
    assert len(agent.requests) == 1


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda c: c.feed_metric(fields={"a": 1}), "measurement"),
        (lambda c: c.feed_metric(measurement="m", a=1), "fields"),
        (lambda c: c.feed_logging(message="x"), "source"),
        (lambda c: c.feed_object(fields={"a": 1}), "cls"),
        (lambda c: c.feed_object(cls="c"), "fields"),
        (lambda c: c.feed_user_event(), "df_user_id"),
        (lambda c: c.feed_user_event("u", df_date_range=None), "df_date_range"),
        (lambda c: c.feed_user_event("u", df_date_range=""), "df_date_range"),
        (lambda c: c.feed_user_event("u"), "df_status"),
        (lambda c: c.feed_user_event("u", df_status="info"), "df_event_id"),
        (lambda c: c.feed_user_event("u", df_status="info", df_event_id="e"), "df_title"),
        (lambda c: c.feed_monitor_event({}), "df_dimension_tags"),
        (lambda c: c.feed_system_event(), "df_status"),
        (lambda c: c.checkArgEmpty("zero", 0), "zero"),
    ],
)
def test_a_missing_argument_is_named_as_datakit_names_it(agent, call, name):
    with pytest.raises(ValueError) as caught:
        call(Collector())
    assert str(caught.value) == f'arguments missing "{name}"'
    assert agent.requests == []


def test_the_base_class_is_datakits():
    with pytest.raises(NotImplementedError):
        DataKitFramework().run()
    with pytest.raises(TypeError):
        DataKitFramework("127.0.0.1")
    assert DataKitFramework.name == "DataKitFramework"
    assert not hasattr(DataKitFramework, "interval")
    assert DataKitFramework._DataKitFramework__dk_host == "127.0.0.1"
    assert DataKitFramework._DataKitFramework__dk_port == 9529
    assert DataKitFramework._DataKitFramework__magic == "{xxx}"
    assert DataKitFramework(anything="else").construct_url("a/b") == "http://127.0.0.1:9529/a/b"
    assert DataKitFramework(ip="10.0.0.1", port="1").construct_url("x") == "http://10.0.0.1:1/x"


def test_a_subclass_may_skip_the_constructor_and_override_the_private_names():
    class Old(DataKitFramework):
        _DataKitFramework__dk_host = "elsewhere"

        def __init__(self):
            pass

    assert Old().construct_url("x") == "http://elsewhere:9529/x"


def test_every_name_of_the_module_is_there():
    import datakit_framework as module

    for name in ("DataKitFramework", "logger", "init_log", "mylog", "os", "sys", "Template", "logging"):
        assert hasattr(module, name), name
    assert module.RotatingFileHandler.__name__ == "RotatingFileHandler"
    assert module.logger is logging.getLogger("pythond_framework")
    with pytest.raises(AttributeError):
        _ = module.nothing
    namespace = {}
    exec("from datakit_framework import *", namespace)
    assert namespace["RotatingFileHandler"] is module.RotatingFileHandler
    assert namespace["sys"] is sys


def test_d33_events_without_tags_work(agent):
    collector = Collector()
    collector.feed_user_event("u", df_status="ok", df_event_id="e", df_title="t")
    collector.feed_monitor_event("{}", df_status="ok", df_event_id="e", df_title="t")
    collector.feed_system_event(df_status="ok", df_event_id="e", df_title="t")
    assert [point.fields["df_source"] for point in agent.points] == ["user", "monitor", "system"]


def test_d34_a_report_that_was_not_delivered_is_said(agent):
    agent.answers.extend([Answer(500, "broken")])
    assert Collector().feed_metric(measurement="m", fields={"a": 1}) == "broken"
    frame = agent.frames[-1]
    assert (frame["t"], frame["category"], frame["status"], frame["text"]) == ("refused", "metric", 500, "broken")
    assert frame["caller"]["func"] == "test_d34_a_report_that_was_not_delivered_is_said"
    assert "feed_metric" in frame["caller"]["src"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_d34_a_number_that_json_has_not_is_left_out_and_the_rest_is_sent(agent, bad):
    Collector().report(
        {"M": [{"measurement": "m", "fields": {"a": bad, "b": 1}}, {"measurement": "n", "fields": {"c": 2}}]}
    )
    assert [point.fields for point in agent.points] == [{"b": 1}, {"c": 2}]
    warning = agent.frames[0]
    assert (warning["t"], warning["code"]) == ("warn", "PD0406")
    assert "`a`" in warning["msg"] and "`m`" in warning["msg"]


def test_d34_a_report_that_holds_itself_is_refused_not_raised(agent):
    fields = {}
    fields["self"] = fields
    assert Collector().feed_metric(measurement="m", fields=fields) == ""
    assert agent.requests == []
    assert "point 0 (`m`) has no field left" in agent.rejections[0].reason
    assert agent.frames[0]["msg"] == "field `self` of `m` holds itself; the field was left out"


def test_d34_a_value_that_is_no_list_is_refused_with_its_type(agent):
    assert Collector().report({"M": (one for one in [])}) == ""
    assert "generator" in agent.rejections[0].reason


def test_d35_a_busy_agent_is_tried_again(agent):
    agent.answers.extend([Answer(503), Answer(429, headers={"Retry-After": "0"}), Answer(200)])
    assert Collector().feed_metric(measurement="m", fields={"a": 1}) == ""
    assert len({one.body for one in agent.requests}) == 1
    assert len(agent.requests) == 3
    agent.assert_no_rejections()


def test_d36_the_callers_dictionaries_are_left_alone(agent):
    fields, tags = {"a": 1}, {"t": "v"}
    collector = Collector()
    collector.feed_metric(measurement="m", fields=fields, tags=tags, k="x")
    collector.feed_object(cls="c", name="n", fields=fields, tags=tags, k="x")
    collector.feed_user_event("u", tags, 10, "info", "e", "t", x=1)
    data = {"M": [{"measurement": "m", "fields": {"a": float("nan"), "b": 1}}]}
    collector.report(data)
    assert (fields, tags) == ({"a": 1}, {"t": "v"})
    assert set(data["M"][0]["fields"]) == {"a", "b"}


def test_d37_options_are_quoted_and_need_not_be_texts(agent):
    point = [{"measurement": "m", "fields": {"a": 1}}]
    options = {"precision": "s", "input": "a b&c=d#ü", "ignore_global_tags": True, "version": 1.2}
    Collector().report({"M": point, **options})
    assert agent.requests[0].path == (
        "/v1/write/metric?precision=s&input=a%20b%26c%3Dd%23%C3%BC&ignore_global_tags=true&version=1.2"
    )
    assert agent.requests[0].options["input"] == "a b&c=d#ü"


def test_d37_what_a_script_has_quoted_itself_is_not_quoted_twice(agent):
    Collector().report({"M": [{"measurement": "m", "fields": {"a": 1}}], "input": "a%20b 100%"})
    assert agent.requests[0].path.endswith("?input=a%20b%20100%25")


def test_d38_events_take_a_range_of_zero_a_time_and_an_input(agent):
    Collector().feed_system_event(
        df_date_range=0, df_status="ok", df_event_id="e", df_title="t", time=17, input="zabbix"
    )
    assert agent.requests[0].path == "/v1/write/keyevent?input=zabbix"
    assert agent.points[0].fields["df_date_range"] == 0
    assert agent.points[0].time == 17
    assert "input" not in agent.points[0].fields


def test_d38_a_wrong_status_is_refused_visibly(agent):
    text = Collector().feed_system_event(df_status="warn", df_event_id="e", df_title="t")
    assert "`df_status` is `warn`" in text
    assert agent.frames[-1]["status"] == 400


def test_d40_the_measurement_of_an_event_can_be_given(agent):
    Collector().feed_system_event(df_status="ok", df_event_id="e", df_title="t", measurement="zabbix")
    assert agent.points[0].measurement == "zabbix"
    assert "measurement" not in agent.points[0].fields


def test_another_receiver_is_spoken_to_directly_and_without_the_token(agent):
    with FarEnd([answer(400, b"no")]) as far:
        host, port = far.address
        text = Collector(ip=host, port=port).feed_metric(measurement="m", fields={"a": 1})
    assert text == "no"
    assert b"X-Pythond-Worker" not in far.requests[0]
    assert agent.requests == []
    assert agent.frames[-1]["status"] == 400
    assert f"{host}:{port}" in agent.frames[-1]["text"]


def test_the_default_address_and_localhost_mean_the_agent_that_runs_the_script(agent):
    Collector(ip="127.0.0.1", port="9529").feed_metric(measurement="m", fields={"a": 1})
    Collector(ip="localhost").feed_metric(measurement="m", fields={"a": 1})
    assert len(agent.points) == 2


def test_d39_urls_of_https_unix_and_ipv6_receivers():
    assert DataKitFramework(ip="https://dk.example", port=443).construct_url("x") == "https://dk.example:443/x"
    assert DataKitFramework(ip="unix:///run/dk.sock").construct_url("x") == "http+unix://%2Frun%2Fdk.sock/x"
    assert DataKitFramework(ip="::1").construct_url("x") == "http://[::1]:9529/x"


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://a/b", "http://a:99999/x", "", None, "http://[::1/x", "http://a b/x"]
)
def test_an_impossible_url_is_said_and_never_raised(agent, url):
    assert Collector().http_post_json(url, []) == ""
    assert len(agent.rejections) == 1


def test_reports_of_many_threads_all_arrive(agent):
    collector = Collector()
    threads = [
        threading.Thread(
            target=lambda n=n: [collector.feed_metric(measurement="m", fields={"n": n}) for _ in range(20)]
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(agent.points) == 160


def test_a_script_may_have_attributes_called_log_and_config(agent):
    class Own(DataKitFramework):
        def __init__(self):
            super().__init__()
            self.log = []
            self.config = "mine"

    own = Own()
    assert (own.log, own.config) == ([], "mine")
    assert isinstance(Collector().log, logging.Logger)
