"""The table of resources: what it says of each, and why there is none."""

import json

import pytest
from panoptes_support import POLLING, Host, checked, info, loaded, resource, until, write

from pythond.dialects import NotYet
from pythond.dialects.panoptes import overview
from pythond.dialects.panoptes.overview import Turn, span
from yahoo_panoptes.framework.resources import PanoptesResource

BROKEN = POLLING.replace(
    "        groups =",
    "        if context.data.resource_id == 'bad':\n            raise OSError('no\\nroute')\n        groups =",
    1,
)

FINDING = """
from yahoo_panoptes.discovery.panoptes_discovery_plugin import PanoptesDiscoveryPlugin
from yahoo_panoptes.framework.resources import PanoptesResource, PanoptesResourceSet

class D(PanoptesDiscoveryPlugin):
    def run(self, context):
        found = PanoptesResourceSet()
        for name in NAMES:
            one = PanoptesResource("local", "system", "host", "generic", name, "e" + name, 1512629517, "lists")
            one.add_metadata("_resource_ttl", "7530")
            found.add(one)
        return found
"""


def made(**more):
    return PanoptesResource.resource_from_dict(resource(**more))


def polling(tmp_path, *dicts, code=POLLING, query='resource_class = "system"'):
    path = tmp_path / "resources.json"
    path.write_text(json.dumps(dicts))
    host = Host(tmp_path, resources=str(path))
    write(tmp_path / "p" / "x.py", code)
    return loaded(write(tmp_path / "p" / "x.panoptes-plugin", info(query=query)), host), host


def discovery(tmp_path, names, id="panoptes.D"):
    host = Host(tmp_path, id=id, mode="once")
    write(tmp_path / "d" / "d.py", f"NAMES = {names!r}\n{FINDING}")
    return checked(write(tmp_path / "d" / "d.panoptes-plugin", info("D", "d.py", query="")), host, "discovery")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "under 1 s"), (0.4, "under 1 s"), (119.4, "119 s"), (180, "3 min"), (7530, "2 h 5 min"), (200_000, "2 d")],
)
def test_times_read_as_in_the_rest_of_the_status(seconds, text):
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (Turn(True, -90.0, "ok"), ["running", "ok"]),
        (Turn(False, 12.0, ""), ["in 12 s", "no run since the start"]),
        (Turn(False, -0.5, "ok"), ["now", "ok"]),
        (Turn(False, -180.0, "failed: x"), ["late by 3 min", "failed: x"]),
    ],
)
def test_the_next_run_and_the_last_one_are_told(turn, told):
    one = made(id="a")
    (row,) = overview.rows([one], {one.serialization_key: 1120.0}, {one.serialization_key: turn}, 1000.0)
    assert row == ["a", "system.host.generic", "a", "local", "2 min", *told]


def test_rows_are_sorted_by_id_and_one_without_a_turn_is_left_out():
    all = [made(id=name) for name in ("b", "c", "a")]
    turns = {one.serialization_key: Turn(False, 1.0, "") for one in all if one.resource_id != "c"}
    assert [row[0] for row in overview.rows(all, {}, turns, 0.0)] == ["a", "b"]


def test_a_polling_plugin_tells_how_each_resource_is(tmp_path):
    given = [resource("good"), resource("bad"), resource("other", resource_class="else")]
    job, host = polling(tmp_path, *given, code=BROKEN)
    assert (job.resources().rows, job.resources().why) == ((), "no check has been made yet")
    job.check()
    table = job.resources()
    assert list(table.columns) == ["RESOURCE", "CLASS", "ENDPOINT", "SITE", "GONE IN", "NEXT", "LAST"]
    # One is due at once, the other later: they are spread.
    assert {row[0]: (row[4], row[6]) for row in table.rows} == {
        "bad": ("-", "no run since the start"),
        "good": ("-", "no run since the start"),
    }
    assert sorted(row[5] for row in table.rows)[1] == "now"
    job._runs.start()
    job._runs.all_now()
    until(lambda: host.rows and job._failed)
    job.stop()
    rows = {row[0]: row[6] for row in job.resources().rows}
    assert rows == {"bad": "failed: OSError: no\nroute", "good": "ok"}


def test_a_resource_that_hung_is_told_as_left_alone(tmp_path):
    job, host = polling(tmp_path, resource("a"), resource("b"))
    job.check()
    (key,) = [key for key, one in job._targets.items() if one.resource_id == "b"]
    job._slots.keep_hung([key], 60, job._wall(job._clock()))
    other = checked(tmp_path / "p" / "x.panoptes-plugin", Host(tmp_path, resources=host.settings["resources"]))
    rows = {row[0]: row[5:] for row in other.resources().rows}
    assert rows["b"][1] == "left alone after it hung" and rows["b"][0] in ("in 2 min", "in 3 min"), rows
    assert rows["a"][1] == "no run since the start"


def test_without_a_resource_that_matches_the_table_says_why(tmp_path):
    job, _ = polling(tmp_path, resource("a"), query='resource_class = "router"')
    with pytest.raises(NotYet):
        job.check()
    table = job.resources()
    assert (list(table.rows), table.why) == (
        [],
        'no resource matches `resource_class = "router"`; there is 1, by class: 1 system',
    )


def test_a_resource_of_the_table_is_told_with_its_expiry(tmp_path):
    discovery(tmp_path, ["f"]).run()
    job, _ = polling(tmp_path, resource("a"))
    job.check()
    assert {row[0]: row[4] for row in job.resources().rows} == {"a": "-", "f": "2 h 5 min"}


def test_a_discovery_plugin_tells_what_it_has_found_also_after_a_restart(tmp_path):
    job = discovery(tmp_path, ["2", "1"])
    assert job.resources().why == "no resource that it has found is there"
    job.run()
    rows = [[name, "system.host.generic", "e" + name, "local", "2 h 5 min"] for name in ("1", "2")]
    assert job.resources().rows == rows
    assert list(job.resources().columns) == ["RESOURCE", "CLASS", "ENDPOINT", "SITE", "GONE IN"]
    # Its resources name another plugin than it: that is noted.
    assert discovery(tmp_path, []).resources().rows == rows
    assert discovery(tmp_path, [], id="panoptes.Else").resources().rows == []
