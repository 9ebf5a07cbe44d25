"""`SimpleService` and the small helpers."""

import os
import sys

import pytest

from bases import collection, loaders
from bases.FrameworkServices.SimpleService import SimpleService
from bases.loggers import PythonDLogger
from third_party import filelock, monotonic, ordereddict

LINES = {"options": [None, "t", "u", "f", "x.c", "line"], "lines": [["v"]]}


class Plain(SimpleService):
    def get_data(self):
        return {"v": 1}


def test_the_framework_takes_its_keys_and_leaves_the_rest(make):
    config = {"url": "x"}
    service = make(Plain, **config)
    assert service.configuration == {"autodetection_retry": 0, "url": "x"}


@pytest.mark.parametrize(
    ("job", "override", "name"),
    [
        ("local", "", "module_local"),
        ("module", "", "module"),
        ("n1", "Other_Name", "module_Other_Name"),
        ("module", "nm", "module_nm"),
    ],
)
def test_names_come_from_the_job_and_its_override(make, job, override, name):
    service = make(Plain, job_name=job, override_name=override)
    assert (service.name, service.job_name, service.actual_job_name) == (name, job, job)
    assert (service.override_name, service.fake_name, service.actual_name()) == (override, None, name)
    service.fake_name = "fake"
    assert (service.actual_name(), service.charts.job_name()) == ("fake", "fake")


def test_a_service_has_the_attributes_that_modules_use(make):
    service = make(Plain)
    assert repr(service) == "<SimpleService: module_local>"
    assert (service.order, service.definitions, len(service.charts)) == ([], {}, 0)
    assert (service.update_every, service.get_update_every(), service.runs_counter) == (1, 1, 1)
    counters = vars(service._runtime_counters)
    names = {"update_every", "do_penalty", "start_mono", "start_real", "retries", "penalty", "elapsed", "prev_update"}
    assert set(counters) == {*names, "runs"}
    service.update_every = 7
    assert (service.get_update_every(), service.charts.get_update_every()) == (7, 7)
    service.module_name = "other"
    assert service.charts.add_chart(["c", *LINES["options"]]).type == "other_local"


def test_without_a_link_the_module_name_is_that_of_the_python_module():
    cls = type("Service", (SimpleService,), {"__module__": "pythond_my_app"})
    from netdata.conftest import configuration

    assert cls(configuration=configuration()).module_name == "my_app"


def test_create_makes_what_is_defined_and_names_what_cannot_be(make, capfd):
    service = make(Plain)
    service.order = ["short", "c", "undefined"]
    service.definitions = {
        "short": {"options": [None, "t"], "lines": []},
        "c": {**LINES, "lines": [["a"], ["a", "again"], [], "str"], "variables": [["x", 1], ["y"]]},
    }
    assert service.create() is True
    assert [str(chart) for chart in service.charts] == ["c"] and service.charts["c"].dimensions == ["a"]
    assert not hasattr(service, "order") and not hasattr(service, "definitions")
    assert [code for code, _ in service.warned] == ["PD0810"] * 4
    assert service.warned[0][1].startswith("chart ['short', None, 't'] was not added: invalid value for 'chart'")
    said = capfd.readouterr().err
    assert "ERROR module[local] : create() => [NOT ADDED] (chart 'short': invalid value" in said
    assert "[NOT ADDED] (dimension '['a', 'again']': 'a' already in 'module_local.c' dimensions)" in said
    assert service.create() is True, "once more does no harm"


def test_create_without_charts_is_false(make):
    assert make(Plain).create() is False
    service = make(Plain)
    service.order = service.definitions = None
    assert service.create() is False


@pytest.mark.parametrize(
    ("order", "definition", "error"),
    [
        (["c"], {**LINES, "options": tuple(LINES["options"])}, TypeError),
        (["c"], {**LINES, "variables": None}, TypeError),
        (["c"], {"options": LINES["options"]}, KeyError),
        ([0], LINES, KeyError),
    ],
)
def test_create_raises_what_netdatas_raises(make, order, definition, error):
    service = make(Plain)
    service.order, service.definitions = order, {order[0]: definition}
    with pytest.raises(error):
        service.create()


def test_seconds_are_whole_but_for_those_that_a_module_sets(make):
    service = make(Plain, update_every=2.9)
    assert service.update_every == 2
    service.update_every = 1.5
    assert service.get_update_every() == 1.5


def test_a_module_may_have_attributes_of_any_name(make, capfd):
    """Those that netdata's framework does not have are the module's."""

    class Own(Plain):
        def _log(self, text):
            return f"own {text}"

        def _create_chart(self):
            return "own chart"

    service = make(Own)
    service._link = service._last_error = service._traceback = service._state = None
    service.logger = "its own"
    service.order, service.definitions = ["c"], {"c": LINES}
    assert service.create() and service.update(0)
    service.error("said")
    assert "ERROR module[local] : said" in capfd.readouterr().err
    assert (service.logger, service._log("x"), service._create_chart()) == ("its own", "own x", "own chart")
    assert make(Plain).logger is not None


@pytest.mark.parametrize(
    ("data", "is_good"), [({"v": 1}, True), ({}, False), (None, False), ([1], False), ("x", False)]
)
def test_the_default_check_wants_a_dictionary_that_is_not_empty(make, data, is_good):
    service = make(type("Service", (SimpleService,), {"_get_data": lambda self: data}))
    assert service.check() is is_good


def test_without_get_data_the_module_is_told_so(make):
    with pytest.raises(NotImplementedError):
        make(SimpleService).check()


def test_a_chart_without_values_is_suppressed_and_comes_back(make, capfd):
    given = iter([{"a": 1, "b": 1}, {"a": 1}, {"a": 1}, {"a": 1, "b": 9}, {"a": 1, "b": 5}, {"b": 6}])
    service = make(type("Service", (SimpleService,), {"get_data": lambda self: next(given)}), chart_cleanup=2)
    service.order = ["a", "b"]
    service.definitions = {name: {**LINES, "lines": [[name]]} for name in service.order}
    service.create()
    seen = []
    for _ in range(6):
        assert service.update(1) is True
        seen.append([str(update.chart) for update in service.charts.take()])
    assert seen == [["a", "b"], ["a"], ["a"], ["a"], ["a", "b"], ["b"]]
    assert "INFO module[local] : chart 'module_local.b' was suppressed due to non updating" in capfd.readouterr().err


def test_one_bad_value_costs_nothing_but_itself(make):
    service = make(type("Service", (SimpleService,), {"get_data": lambda self: {"a": "abc", "b": 2}}))
    service.order, service.definitions = (
        ["c", "d"],
        {"c": {**LINES, "lines": [["a"], ["b"]]}, "d": {**LINES, "lines": [["b"]]}},
    )
    service.create()
    assert service.update(1) is True
    assert [[one.id for one, _ in update.values] for update in service.charts.take()] == [["b"], ["b"]]
    assert service.warned == [("PD0415", "dimension `a` of chart `module_local.c`: 'abc' is no number")]


def test_messages_are_joined_by_str_and_carry_level_module_and_job(make, capfd):
    service = make(Plain)
    service.info("a", 1, None)
    service.warning()
    service.debug("never seen")
    try:
        raise ValueError("why")
    except ValueError:
        service.error("failed:", ValueError("x"))
    service.alert("two\nlines")
    with pytest.raises(SystemExit):
        service.fatal("bye", 1)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "INFO module[local] : a 1 None"
    assert lines[1] == "WARNING module[local] : "
    assert lines[2] == "ERROR module[local] : failed: x"
    assert lines[3] == "ERROR module[local] : Traceback (most recent call last):"
    assert lines[-4:] == [
        "ERROR module[local] : ValueError: why",
        "CRITICAL module[local] : two",
        "CRITICAL module[local] : lines",
        "CRITICAL module[local] : bye 1",
    ]


def test_tracebacks_can_be_switched_off_for_all(make, capfd):
    service = make(Plain)
    service.log_traceback = False
    try:
        assert PythonDLogger().log_traceback is False
        try:
            raise ValueError
        except ValueError:
            service.error("x")
        assert capfd.readouterr().err == "ERROR module[local] : x\n"
    finally:
        service.log_traceback = True


def test_find_binary_looks_into_the_path_and_the_system_folders(tmp_path, monkeypatch):
    program = tmp_path / "prog"
    program.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collection.find_binary("prog") is None
    program.chmod(0o755)
    assert collection.find_binary("prog") == str(program)
    assert collection.find_binary(str(program)) == str(program)
    assert collection.find_binary("nobody") is None and collection.find_binary("") is None
    assert [os.path.basename(one) for one in collection._folders()[1:]] == ["sbin", "sbin"]


@pytest.mark.parametrize(("text", "last"), [("abc", "abc"), ("abc\ndef\n", "def\n"), ("a\n" * 9000 + "é", "é")])
def test_read_last_line_gives_it_with_its_end(tmp_path, text, last):
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    assert collection.read_last_line(str(path)) == last


def test_read_last_line_of_nothing_is_an_error(tmp_path):
    (tmp_path / "empty").write_text("")
    for name in ("empty", "absent"):
        with pytest.raises(OSError):
            collection.read_last_line(str(tmp_path / name))


def test_the_small_helpers_do_what_their_names_say(capfd):
    assert collection.setdefault_values({"a": 1, "b": None}, {"a": 2, "c": 4}) == {"a": 1, "b": None, "c": 4}
    assert [collection.unicode_str(one) for one in ("x", None, 5)] == ["x", "None", "5"]
    assert collection.CHART_BEGIN.format("a", 0) == "BEGIN a 0\n"
    collection.safe_print("a", 1)
    assert capfd.readouterr().out == "a1\n"
    assert collection.static_vars(n=1)(lambda: None).n == 1
    called = []
    guarded = collection.on_try_except_finally((called.append, "except"), (called.append, "finally"))
    guarded(lambda: 1 / 0)()
    assert called == ["except", "finally"] and guarded(lambda: 5)() == 5
    with pytest.raises(SystemExit):
        collection.run_and_exit(lambda: None)()


def test_yaml_keeps_its_order(needs_yaml, tmp_path):
    assert list(loaders.load_yaml("b: 1\na: {d: yes, c: 2}")) == ["b", "a"]
    assert loaders.load_yaml("a: {c: 1, b: yes}") == {"a": {"c": 1, "b": True}}
    assert loaders.load_yaml("") is None
    path = tmp_path / "x.conf"
    path.write_text("a: 1")
    assert loaders.load_config(str(path)) == {"a": 1}
    with open(path) as file:
        assert loaders.load_yaml(file) == {"a": 1}


def test_third_party_holds_what_python_has_by_now():
    from collections import OrderedDict
    from time import monotonic as clock

    assert monotonic.monotonic is clock and ordereddict.OrderedDict is OrderedDict


def test_a_file_lock_is_one_processs(tmp_path):
    path = str(tmp_path / "lock")
    with filelock.FileLock(path) as lock:
        assert lock.is_locked and lock.lock_file == path
        with pytest.raises(filelock.Timeout, match="could not be acquired"):
            filelock.FileLock(path).acquire(timeout=0.01)
        with lock.acquire():
            assert lock.is_locked
        assert lock.is_locked
    assert not lock.is_locked
    filelock.FileLock(path, timeout=0).acquire().__exit__()


def test_old_modules_find_base_and_msg(capfd):
    import base
    import msg

    assert base.SimpleService is SimpleService
    assert {base.UrlService, base.SocketService, base.LogService, base.ExecutableService, base.MySQLService}
    msg.info("old")
    assert capfd.readouterr().err == "INFO python.d[main] : old\n"


def test_ours_wins_over_others_of_its_name(tmp_path, monkeypatch):
    from pythond.dialects.netdata import surroundings

    (tmp_path / "third_party.py").write_text("mine = False")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = sys.modules.pop("third_party")
    try:
        import third_party

        assert third_party.__file__.startswith(surroundings.SHADOW)
    finally:
        sys.modules["third_party"] = before
