"""What units share: key-value pairs, resources, and the file they are in."""

import json
import os
import sqlite3
import subprocess
import sys
import threading

import pytest
from panoptes_support import resource

from pythond.dialects.panoptes.pairs import Pairs
from pythond.dialects.panoptes.resources import Table, from_json
from pythond.dialects.panoptes.shared import secret
from pythond.dialects.panoptes.slots import Slots
from pythond.dialects.panoptes.store import Store, StoreError
from support import CORE, LIMIT
from yahoo_panoptes.framework.context import PanoptesContext
from yahoo_panoptes.framework.resources import PanoptesResource, PanoptesResourceSet
from yahoo_panoptes.framework.utilities.key_value_store import Memory, PanoptesKeyValueStore
from yahoo_panoptes.framework.utilities.secrets import PanoptesSecretsStore


class Place:
    """A folder with the file, and a clock to turn."""

    def __init__(self, path):
        self.path = os.path.join(str(path), "state", "x.sqlite3")
        self.now = 1_000_000.0
        self.said = []

    def open(self):
        return Store(self.path, self.said.append, lambda: self.now)

    def files(self):
        return sorted(os.listdir(os.path.dirname(self.path)))


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def kv(backend):
    return PanoptesKeyValueStore(PanoptesContext(backend=backend), "panoptes:plugins_kv")


@pytest.fixture(params=["memory", "disk"])
def pairs(request, place):
    return kv(Memory() if request.param == "memory" else Pairs(place.open()))


def test_pairs_are_kept_found_and_deleted(pairs):
    assert pairs.get("a") is None
    assert pairs.set("a", "1") is True
    assert pairs.getset("a", "2") == "1"
    assert pairs.getset("b*", "3") is None
    assert pairs.get("a") == "2"
    assert pairs.find_keys() == ["a", "b*"]
    assert pairs.find_keys("a*") == ["a"]
    assert pairs.find_keys("[ab]?") == ["b*"]
    assert pairs.delete("a") == 1
    assert pairs.delete("a") == 0
    assert pairs.get("a") is None


def test_a_pair_lives_for_a_week_unless_it_is_told_otherwise(pairs):
    pairs.set("a", "1")
    pairs.set("b", "1", 60)
    assert pairs.ttl("a") == 604800
    assert pairs.ttl("b") == 60
    assert pairs.ttl("c") == -2


def test_sets_have_members(pairs):
    assert pairs.set_members("s") == set()
    pairs.set_add("s", "x")
    pairs.set_add("s", "y")
    pairs.set_add("s", "x")
    assert pairs.set_members("s") == {"x", "y"}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda kv: kv.get(""), "key must be a non-empty str"),
        (lambda kv: kv.get(5), "key must be a non-empty str"),
        (lambda kv: kv.set("", "v"), "key must be a non-empty str"),
        (lambda kv: kv.set("k", ""), "key value be a non-empty str"),
        (lambda kv: kv.set("k", 5), "key value be a non-empty str"),
        (lambda kv: kv.set("k", "v", 0), "expire must be an integer greater than zero"),
        (lambda kv: kv.getset("k", 5), "key value be a non-empty str"),
        (lambda kv: kv.ttl(""), "key must be a non-empty str"),
        (lambda kv: kv.delete(""), "key must be a non-empty str or unicode"),
        (lambda kv: kv.set_add("", "x"), "set_name must be a non-empty str"),
        (lambda kv: kv.set_add("s", 5), "member must be a non-empty str"),
        (lambda kv: kv.set_members(""), "set_name must be a non-empty str"),
    ],
)
def test_what_is_no_pair_is_refused_in_the_originals_words(pairs, call, text):
    with pytest.raises(AssertionError) as caught:
        call(pairs)
    assert str(caught.value) == text


def test_pairs_outlive_a_restart_with_what_is_left_of_their_time(place):
    store = place.open()
    kv(Pairs(store)).set("a", "1", 100)
    kv(Pairs(store)).set_add("s", "x")
    store.close()
    place.now += 60
    again = kv(Pairs(place.open()))
    assert (again.get("a"), again.ttl("a"), again.set_members("s")) == ("1", 40, {"x"})
    place.now += 41
    assert (again.get("a"), again.ttl("a"), again.find_keys()) == (None, -2, ["s"])


def test_what_has_expired_is_removed(place):
    store = place.open()
    kv(Pairs(store)).set("a", "1", 100)
    place.now += 101
    store.forget_expired()
    assert store.read(lambda one: one.execute("SELECT count(*) FROM value").fetchone()) == (0,)


def test_getset_of_many_threads_loses_nothing(place):
    store = place.open()
    pairs = kv(Pairs(store))
    pairs.set("n", "start")
    seen = []

    def work(name):
        for number in range(20):
            seen.append(pairs.getset("n", f"{name}.{number}"))
        store.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*seen, pairs.get("n")}) == 81


# --- damage ---


def test_a_file_that_is_none_of_sqlites_is_set_aside_said_and_started_anew(place):
    os.makedirs(os.path.dirname(place.path))
    with open(place.path, "wb") as file:
        file.write(b"no database at all" * 500)
    store = place.open()
    kv(Pairs(store)).set("a", "1")
    assert kv(Pairs(store)).get("a") == "1"
    assert len(place.said) == 1
    assert "is damaged" in place.said[0]
    assert any(".damaged-" in name for name in place.files())


def test_damage_while_it_is_used_is_met_the_same_way(place):
    store = place.open()
    pairs = kv(Pairs(store))
    for number in range(2000):
        pairs.set(f"key {number}", "x" * 100)
    store.read(lambda one: one.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
    store.close()
    with open(place.path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(os.path.getsize(place.path) - 4096))
    assert kv(Pairs(place.open())).get("key 5") is None
    assert len(place.said) == 1


def test_one_that_has_the_old_file_open_notices_the_new_one(place):
    first = place.open()
    kv(Pairs(first)).set("a", "old")
    os.rename(place.path, place.path + ".gone")
    second = place.open()
    kv(Pairs(second)).set("a", "new")
    assert kv(Pairs(first)).get("a") == "new"


def test_a_file_of_a_newer_agent_is_left_alone(place):
    place.open().close()
    connection = sqlite3.connect(place.path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="newer pythond"):
        place.open()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StoreError, match="cannot make"):
        Place(tmp_path).open()


# --- resources ---


def set_of(*dicts, at=None):
    found = PanoptesResourceSet()
    for one in dicts:
        found.add(PanoptesResource.resource_from_dict(one))
    if at is not None:
        found._PanoptesResourceSet__created = at
    return found


def ids(table):
    return [one.resource_id for one in table.read()]


def test_a_new_set_replaces_the_one_before_it(place):
    table = Table(place.open())
    change = table.replace(set_of(resource("a"), resource("b")))
    assert (change.added, change.refreshed, change.removed) == (2, 0, 0)
    change = table.replace(set_of(resource("b"), resource("c")))
    assert (change.added, change.refreshed, change.removed) == (1, 1, 1)
    assert ids(table) == ["b", "c"]


def test_a_set_leaves_those_of_other_plugins_and_sites_alone(place):
    table = Table(place.open())
    table.replace(set_of(resource("a"), resource("b", resource_site="east"), resource("c", resource_plugin="q")))
    table.replace(set_of(resource("d")))
    assert sorted(ids(table)) == ["b", "c", "d"]


def test_one_that_is_missing_stays_where_it_is_newer_than_the_set(place):
    table = Table(place.open())
    table.replace(set_of(resource("a", resource_creation_timestamp=5000.0), resource("b")))
    table.replace(set_of(resource("b"), at=4000.0))
    assert ids(table) == ["a", "b"]
    table.replace(set_of(resource("b"), at=6000.0))
    assert ids(table) == ["b"]


def test_a_resource_is_gone_after_its_time_and_may_come_back(place):
    table = Table(place.open())
    table.replace(set_of(resource("a", 900)))
    place.now += 800
    table.replace(set_of(resource("a", 900)))
    place.now += 899
    assert ids(table) == ["a"]
    place.now += 2
    assert ids(table) == []
    table.drop_expired()
    assert table.next_expiry() == float("inf")
    table.replace(set_of(resource("a", 900)))
    assert ids(table) == ["a"]


def test_the_version_tells_a_change_from_what_was_only_found_again(place):
    table = Table(place.open())
    table.replace(set_of(resource("a")))
    version = table.version()
    table.replace(set_of(resource("a")))
    assert table.version() == version
    table.replace(set_of(resource("a", metadata={"os": "x"})))
    assert table.version() == version + 1
    place.now += 901
    table.drop_expired()
    assert table.version() == version + 2


def test_a_change_by_another_process_is_noticed_and_ones_own_look_is_none(place):
    mine, other = place.open(), place.open()
    before = mine.changes()
    assert mine.changes() == before
    Table(other).replace(set_of(resource("a")))
    assert mine.changes() != before


def test_a_resource_comes_back_as_it_was_but_for_its_time(place):
    table = Table(place.open())
    table.replace(set_of(resource("a", metadata={"os_name": "Advanced Core OS"})))
    (one,) = table.read()
    assert one.resource_metadata == {"_resource_ttl": "900", "os_name": "Advanced Core OS"}
    assert one.resource_creation_timestamp == place.now
    assert one.serialization_key == PanoptesResource.resource_from_dict(resource("a")).serialization_key


# --- a JSON file ---


def test_each_bad_entry_of_a_json_file_is_told_and_the_others_are_used():
    import json

    entries = [resource("a"), {"resource_site": "x"}, 5, resource("b", resource_metadata=5)]
    data = json.dumps([*entries, resource("")], indent=1).encode()
    found, faults = from_json(data, "r.json")
    assert [one.resource_id for one in found] == ["a", "b"]
    assert [(one.severity, one.text) for one in faults] == [
        ("warning", "entry 1 is left out: the key 'resource_plugin' is missing"),
        ("warning", "entry 2 is left out: it must be an object, not int"),
        ("warning", "entry 4 is left out: resource_id must be a non-empty str"),
    ]
    lines = data.decode().splitlines()
    assert [lines[one.line - 1].strip()[:1] for one in faults] == ["{", "5", "{"]


@pytest.mark.parametrize(
    ("text", "code", "why", "line"),
    [
        ('[\n {"a": }\n]', "PD0801", "is no JSON: Expecting value", 2),
        ('{"a": 1}', "PD0802", "must hold a list of resources, not dict", 1),
        ("[{}]", "PD0802", "no entry is a resource", 1),
    ],
)
def test_a_json_file_without_resources_is_a_fault(text, code, why, line):
    found, faults = from_json(text.encode(), "r.json")
    assert found == []
    assert (faults[-1].code, faults[-1].text, faults[-1].line, faults[-1].severity) == (code, why, line, "error")


def test_an_empty_list_is_odd_and_no_fault():
    found, (fault,) = from_json(b"[]", "r.json")
    assert (found, fault.text, fault.severity) == ([], "the list is empty", "warning")


# --- slots, secrets ---


def test_a_resource_that_hangs_rests_for_longer_each_time_and_an_hour_at_most(place):
    slots = Slots(place.open(), "u")
    rests = []
    for _ in range(8):
        slots.keep_hung(["a"], 60.0, place.now)
        rests.append(slots.hung()["a"][1] - place.now)
    assert rests == [120, 240, 480, 960, 1920, 3600, 3600, 3600]
    slots.forgive("a")
    assert slots.hung() == {}


def test_slots_are_of_one_unit_and_outlive_a_restart(place):
    Slots(place.open(), "u").keep({"a": 5.0})
    Slots(place.open(), "u").keep_ran_until(7.0)
    assert (Slots(place.open(), "u").known(), Slots(place.open(), "u").ran_until()) == ({"a": 5.0}, 7.0)
    assert (Slots(place.open(), "v").known(), Slots(place.open(), "v").ran_until()) == ({}, 0.0)


def test_secrets_come_from_a_folder_or_a_table_and_fall_back_to_the_default_site(tmp_path):
    (tmp_path / "pw:local").write_text("one\n")
    (tmp_path / "pw.default").write_text("two")
    for source in (str(tmp_path), {"pw:local": "one", "pw:default": "two"}):
        store = PanoptesSecretsStore(PanoptesContext(secret=lambda key, source=source: secret(source, key)))
        assert store.get_by_site("pw", "local") == "one"
        assert store.get_by_site("pw", "east") == "two"
        assert store.get_by_site("pw", "east", fallback_to_default=False) is None
        assert store.get("nope") is None
        assert store.get("../pw:local") is None
        store.set("pw:local", "x")
        assert store.get("pw:local") == "one"


def test_its_files_are_their_owners_alone(tmp_path):
    before = os.umask(0o022)
    try:
        store = Store(str(tmp_path / "in" / "x.sqlite3"), print)
        store.write(lambda connection: connection.execute("CREATE TABLE t (a)"))
        modes = {name: os.stat(tmp_path / "in" / name).st_mode & 0o777 for name in os.listdir(tmp_path / "in")}
        assert modes["x.sqlite3"] == 0o600 and set(modes.values()) == {0o600}, modes
        assert os.stat(tmp_path / "in").st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


OPEN = """
import sys
sys.path.insert(0, sys.argv[1])
from pythond.dialects.panoptes.store import Store
sys.stdin.read()
Store(sys.argv[2], print)
"""


def test_many_processes_may_make_the_file_at_once(tmp_path):
    command = [sys.executable, "-c", OPEN, CORE, str(tmp_path / "x.sqlite3")]
    many = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for one in many:
        one.stdin.close()
    said = [(one.stderr.read(), one.wait(LIMIT)) for one in many]
    for one in many:
        one.stderr.close()
    assert said == [("", 0)] * 8


def test_an_entry_that_is_left_out_says_what_was_meant():
    good = resource("a")
    wrong = [
        {**{key: value for key, value in good.items() if key != "resource_class"}, "resource_clas": "x"},
        {key: value for key, value in good.items() if key != "resource_class"},
        {**good, "resource_metadata": {"_resource_ttl": 900}},
        {**good, "resource_metadata": {"a": ""}},
        {**good, "resource_metadata": {"a b": "c"}},
    ]
    found, faults = from_json(json.dumps([good, *wrong]).encode(), "r.json")
    assert len(found) == 1
    assert [one.text.partition(" is left out: ")[2] for one in faults] == [
        "the key 'resource_class' is missing; did you mean it by `resource_clas`?",
        "the key 'resource_class' is missing",
        "`_resource_ttl` of `resource_metadata` is 900; it must be a text that is not empty",
        '`a` of `resource_metadata` is ""; it must be a text that is not empty',
        'metadata key "a b" has to match pattern: (letter|"_") (letter | digit | "_")*',
    ]
