"""A plugin from its folder to rows, resources and enrichment."""

import gc
import json
import sys
import threading

import pytest
from panoptes_support import POLLING, Host, checked, info, loaded, resource, unit, until, write

from pythond import dialects, guard, loader
from pythond.dialects import panoptes
from pythond.dialects.panoptes import job as job_module
from pythond.dialects.panoptes.handover import Handover
from pythond.dialects.panoptes.modules import NoModule, find
from pythond.dialects.panoptes.results import WrongResult
from yahoo_panoptes.framework.resources import PanoptesResource, PanoptesResourceSet


def resources_file(tmp_path, *dicts):
    path = tmp_path / "resources.json"
    path.write_text(json.dumps(list(dicts)))
    return str(path)


def polling(tmp_path, body="", host=None, resources=None, type="polling", code=POLLING, **more):
    """The job of a polling plugin against resource `a`, or those that are given."""
    given = [resource("a")] if resources is None else resources
    host = host or Host(tmp_path, resources=resources_file(tmp_path, *given) if given else None)
    write(
        tmp_path / "p" / "x.py", code.replace("        groups =", f"        {body}\n        groups =") if body else code
    )
    path = write(tmp_path / "p" / "x.panoptes-plugin", info(**more))
    return checked(path, host, type), host


def fields(host):
    return [{one.field: one.value for one in row.readings} for row in host.rows]


def test_a_plugin_runs_against_each_resource_that_matches(tmp_path):
    given = [resource("a"), resource("b"), resource("c", resource_class="other")]
    job, host = polling(tmp_path, resources=given, query='resource_class = "system"', every=1)
    job.run()
    host.wait_for_rows(2)
    job.stop()
    assert sorted({row.tags["resource_endpoint"] for row in host.rows}) == ["a", "b"]
    row = host.rows[0]
    assert (row.measurement, fields(host)[0]) == ("g", {"v__gauge": 1})
    assert row.time_ns % 10**9 == 0


def test_each_run_has_a_new_module_and_a_new_instance_and_leaves_nothing_behind(tmp_path):
    code = """
        from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin
        from yahoo_panoptes.framework.metrics import *

        groups = PanoptesMetricsGroupSet()
        names = []

        class X(PanoptesPollingPlugin):
            def __init__(self):
                self.groups = PanoptesMetricsGroupSet()
                super().__init__()

            def run(self, context):
                names.append(__name__)
                context.kv.set("name", __name__)
                assert __name__.startswith("yapsy_loaded_plugin_Tutorial_Plugin_"), __name__
                group = PanoptesMetricsGroup(context.data, "g", 60)
                group.add_metric(PanoptesMetric("runs", len(names), PanoptesMetricType.GAUGE))
                groups.add(group)
                self.groups.add(group)
                assert len(self.groups) == len(groups) == 1
                return groups
        """
    job, host = polling(tmp_path, code=code, name="Tutorial Plugin", host=None)
    before = set(sys.modules)
    for _ in range(3):
        job._is_once = True
        job.run()
    assert fields(host) == [{"runs__gauge": 1}] * 3
    assert not [name for name in set(sys.modules) - before if name.startswith("yapsy")]
    job.stop()


def test_two_info_files_may_share_a_module(tmp_path):
    host = Host(tmp_path, resources=resources_file(tmp_path, resource("a")))
    write(tmp_path / "p" / "x.py", POLLING.replace('"g", 60', 'context.config["Core"]["name"], 60'))
    for name in ("One", "Two"):
        path = write(tmp_path / "p" / f"{name}.panoptes-plugin", info(name, "x"))
        host.id = f"panoptes.{name}"
        panoptes.load(unit(path, id=host.id), host)
    for job in host.jobs:
        job.check()
        job.run()
        job.stop()
    assert [row.measurement for row in host.rows] == ["One", "Two"]


def test_a_module_that_changes_while_it_runs_is_not_mixed_with_the_old_one(tmp_path):
    job, host = polling(tmp_path)
    write(tmp_path / "p" / "x.py", "this is no Python")
    job.run()
    job.stop()
    assert len(host.rows) == 1


def test_a_package_with_modules_of_its_own_runs(tmp_path):
    write(tmp_path / "p" / "x" / "__init__.py", "from .inner import NAME\n" + POLLING.replace('"v"', "NAME"))
    write(tmp_path / "p" / "x" / "inner.py", "NAME = 'inner'\n")
    host = Host(tmp_path, resources=resources_file(tmp_path, resource("a")))
    job = checked(write(tmp_path / "p" / "x.panoptes-plugin", info(module="x")), host)
    job.run()
    job.stop()
    assert fields(host) == [{"inner__gauge": 1}]
    assert not [name for name in sys.modules if name.startswith("yapsy")]


def test_rows_of_many_runs_go_together_and_each_gets_its_answer():
    lock, sent = threading.Lock(), []
    first, go = threading.Event(), threading.Event()

    def put(rows):
        assert lock.acquire(blocking=False)
        first.set()
        assert go.wait(30)
        sent.append(list(rows))
        lock.release()
        if "bad" in rows:
            raise ValueError("bad")
        return len(sent)

    handover = Handover(put)
    got = {}

    def run(name):
        try:
            got[name] = handover.send([name, name])
        except ValueError as error:
            got[name] = error

    threads = [threading.Thread(target=run, args=("first",))]
    threads[0].start()
    assert first.wait(30)
    for name in ("a", "b", "bad"):
        threads.append(threading.Thread(target=run, args=(name,)))
        threads[-1].start()
        until(lambda: len(handover._waiting) == len(threads) - 1)
    go.set()
    for thread in threads:
        thread.join(30)
    assert sent == [["first", "first"], ["a", "a", "b", "b", "bad", "bad"]]
    assert got["first"] == 1
    assert all(isinstance(got[name], ValueError) for name in ("a", "b", "bad"))


# --- what does not go well ---


def test_no_resource_yet_is_a_reason_to_wait_and_to_look_again_soon(tmp_path):
    host = Host(tmp_path)
    write(tmp_path / "p" / "x.py", POLLING)
    job = loaded(write(tmp_path / "p" / "x.panoptes-plugin", info()), host)
    with pytest.raises(dialects.NotYet) as caught:
        job.check()
    why = 'no resource matches `resource_site = "local"`: there are none'
    assert str(caught.value) == f"{why}; the input has neither `discovery` nor `resources`, which would give them"
    job._shared.table.replace(of(resource("a", resource_site="east"), resource("b", resource_site="east")))
    with pytest.raises(dialects.NotYet) as caught:
        job.check()
    assert str(caught.value).endswith("; there are 2, by class: 2 system")
    assert caught.value.again_in == 1.0
    job._shared.table.replace(of(resource("c")))
    job.check()
    job.stop()


def of(*dicts):
    found = PanoptesResourceSet()
    for one in dicts:
        found.add(PanoptesResource.resource_from_dict(one))
    return found


def test_an_exception_fails_the_job_with_its_traceback_until_a_run_goes_well(tmp_path):
    flag = tmp_path / "fail"
    flag.write_text("")
    body = f"import os; os.path.exists({str(flag)!r}) and {{}}['missing']"
    job, _ = polling(tmp_path, body, resources=[resource("a")])
    with pytest.raises(KeyError) as caught:
        job.run()
    frames = traceback_files(caught.value)
    assert str(tmp_path / "p" / "x.py") in frames
    assert "resource a" in caught.value.__notes__
    assert "1 failed (a)" in job.title
    # It stays so, although nothing is due.
    with pytest.raises(KeyError):
        job.run()
    assert len(traceback_files(caught.value)) < len(frames) + 5
    flag.unlink()
    job._runs.all_now()
    assert job.run() == pytest.approx(60, abs=1)
    assert "failed" not in job.title
    job.stop()


def traceback_files(error):
    files = []
    tb = error.__traceback__
    while tb is not None:
        files.append(tb.tb_frame.f_code.co_filename)
        tb = tb.tb_next
    return files


@pytest.mark.parametrize("body", ["import sys; sys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_nothing_that_a_run_raises_ends_the_thread(tmp_path, body):
    job, _ = polling(tmp_path, body)
    for _ in range(2):
        job._runs.all_now()
        with pytest.raises(BaseException) as caught:
            job.run()
        assert type(caught.value).__name__ in ("SystemExit", "KeyboardInterrupt", "GeneratorExit")
    job.stop()


@pytest.mark.parametrize(("value", "told"), [("None", "None"), ("5", "a `int`"), ("[]", "a `list`")])
def test_a_result_of_another_type_fails_with_the_place_of_run(tmp_path, value, told):
    job, host = polling(tmp_path, f"return {value}")
    with pytest.raises(WrongResult) as caught:
        job.run()
    assert str(caught.value) == f"`run` returned {told}; it must return a PanoptesMetricsGroupSet"
    (place,) = guard.describe(caught.value, lambda path: False)["where"]
    assert (place["file"], place["line"], place["func"]) == (f"{tmp_path}/p/x.py", 7, "run")
    assert place["src"].strip() == "def run(self, context):"
    assert host.rows == []
    job.stop()


def test_an_empty_set_is_well_and_said_after_three(tmp_path):
    job, host = polling(tmp_path, "return PanoptesMetricsGroupSet()")
    for times in range(4):
        assert len(host.warnings) == (1 if times > 2 else 0)
        job._runs.all_now()
        job.run()
    assert host.warnings[0][:2] == ("PD0307", "produced no metrics group in 3 runs")
    job.stop()


def test_points_that_came_nowhere_fail_the_run_and_refused_ones_do_not(tmp_path):
    job, host = polling(tmp_path)
    host.answer = type(host.answer)(400, 0, 1, 0, "refused")
    job.run()
    host.answer = type(host.answer)(0, 0, 1, 0, "no socket")
    job._runs.all_now()
    with pytest.raises(Exception, match="1 points were not taken: 0 no socket"):
        job.run()
    job.stop()


def failure(tmp_path, text=None, code=POLLING, type="polling", **more):
    if code is not None:
        write(tmp_path / "p" / "x.py", code)
    path = write(tmp_path / "p" / "x.panoptes-plugin", info(**more) if text is None else text)
    with pytest.raises(loader.Failure) as caught:
        panoptes.load(unit(path, type), Host(tmp_path))
    return caught.value.frame


def test_a_broken_info_file_is_a_load_error_with_its_place(tmp_path):
    frame = failure(tmp_path, "[Core]\nName = A\nModule = x\n[main]\n  wrong\nexecute_frequency = 0\n")
    assert (frame["code"], frame["line"], frame["col"], frame["src"]) == ("PD0801", 5, 3, "  wrong")
    assert frame["file"].endswith("x.panoptes-plugin")
    # What is missing in a torn file may only not have been found.
    assert frame["notes"] == [
        "x.panoptes-plugin:6:21: `execute_frequency` is `0`; it must be a whole number of seconds above 0"
    ]


def test_what_is_wrong_besides_is_told_with_what_was_meant(tmp_path):
    # By hand: nobody has told the warnings before.
    path = write(tmp_path / "p" / "x.panoptes-plugin", info(name="a;;b", more="[Main]\n").replace("Module", "Modul"))
    with pytest.raises(loader.Failure) as caught:
        panoptes.load(dialects.Unit("panoptes.X", str(path), roots=[str(tmp_path)]), Host(tmp_path, mode="once"))
    assert caught.value.frame["notes"] == [
        "x.panoptes-plugin:3: `Module` is missing in `[Core]`; did you mean it by `modul`?",
        "x.panoptes-plugin:7:1: `[Main]` is no section that Panoptes knows; did you mean `[main]`?",
    ]


def test_a_missing_module_is_a_load_error_with_both_paths(tmp_path):
    frame = failure(tmp_path, code=None, module="/nope/dir/y.py")
    assert (frame["code"], frame["line"]) == ("PD0804", 3)
    assert "`/nope/dir/y.py`" in frame["msg"]
    assert f"`{tmp_path}/p/y.py`" in frame["msg"]


def test_a_module_without_a_plugin_is_a_load_error_with_what_is_there(tmp_path):
    frame = failure(tmp_path, code="class A: pass\nclass B(A): pass\n")
    assert (frame["code"], frame["file"]) == ("PD0204", str(tmp_path / "p" / "x.py"))
    assert frame["msg"] == "no class inherits `PanoptesPollingPlugin`, which a polling plugin must"
    assert frame["notes"] == ["class `A` inherits object", "class `B` inherits A"]


def test_a_plugin_of_another_type_is_told_where_it_belongs(tmp_path):
    frame = failure(tmp_path, type="discovery")
    assert frame["msg"] == "no class inherits `PanoptesDiscoveryPlugin`, which a discovery plugin must"
    assert frame["help"] == "`X` is a plugin for polling: put its folder under `polling`"


def test_a_class_without_run_is_a_load_error_with_its_line(tmp_path):
    frame = failure(tmp_path, code=POLLING.replace("def run", "def runs"))
    assert (frame["code"], frame["permanent"]) == ("PD0204", True)
    assert frame["msg"] == "`X` has no method `run`, which a polling plugin must have"
    assert (frame["line"], frame["src"]) == (6, "class X(PanoptesPollingPlugin):")
    assert frame["help"] == "did you mean `run` by `runs`?"


def test_what_of_panoptes_is_not_here_is_not_to_be_installed(tmp_path):
    code = "from yahoo_panoptes.framework.utilities.snmp.connection import PanoptesSNMPConnectionFactory\n"
    for one in (code, "import yahoo_panoptes_snmp\n"):
        frame = failure(tmp_path, code=one)
        assert (frame["code"], frame["line"]) == ("PD0202", 1)
        assert "is a part of Panoptes that does not run here; see docs/panoptes.md" in frame["help"]


@pytest.mark.parametrize(
    ("code", "wanted"),
    [("def (:\n", "PD0201"), ("import nothing_of_that_name\n", "PD0202"), ("1 / 0\n", "PD0203")],
)
def test_a_module_that_cannot_be_loaded_says_so_with_its_line(tmp_path, code, wanted):
    frame = failure(tmp_path, code="\n" + code)
    assert (frame["code"], frame["file"], frame["line"]) == (wanted, str(tmp_path / "p" / "x.py"), 2)


def test_a_method_that_nobody_calls_beside_one_of_nearly_its_name_is_said(tmp_path):
    methods = "\n    def populateGroups(self):\n        pass\n\n    def populatedGroups(self):\n        pass\n"
    job, host = polling(tmp_path, "self.populateGroups()", code=POLLING + methods)
    job.stop()
    ((code, text, file, line),) = host.warnings
    assert (code, text) == ("PD0213", "`X.populatedGroups` is called by nobody; `populateGroups` is")
    assert (file, line) == (str(tmp_path / "p" / "x.py"), 18)


def test_a_plugin_that_cannot_be_made_gives_way_to_the_next_one(tmp_path):
    code = POLLING + "\n\nclass A(PanoptesPollingPlugin):\n    def __init__(self, needed):\n        pass\n"
    job, host = polling(tmp_path, code=code)
    job.run()
    job.stop()
    assert len(host.rows) == 1
    alone = POLLING.replace("    def run", "    def __init__(self, needed):\n        pass\n\n    def run")
    assert failure(tmp_path, code=alone)["exc"] == "TypeError"


def test_a_module_of_a_container_is_the_one_beside_and_that_is_said(tmp_path):
    path = write(tmp_path / "p" / "x.panoptes-plugin", info(module="/home/panoptes_v/lib/x.py"))
    write(tmp_path / "p" / "x.py", POLLING)
    assert find("/home/panoptes_v/lib/x.py", str(path)).path == str(tmp_path / "p" / "x.py")
    namesake = find("/home/panoptes_v/lib/y.py", str(path))
    assert (namesake.path, namesake.note.endswith("`x.py`, named like the info file, is taken")) == (
        str(tmp_path / "p" / "x.py"),
        True,
    )
    for module, info_file in (("y.py", path), ("/home/panoptes_v/lib/y.py", tmp_path / "p" / "z.panoptes-plugin")):
        with pytest.raises(NoModule):
            find(module, str(info_file))
    ours = find("/a/yahoo_panoptes/plugins/discovery/plugin_discovery_from_json_file.py", str(path))
    assert ours.path.startswith(panoptes.PATH_FIRST[0])
    assert "comes with pythond" in ours.note


# --- resources come and go ---

DISCOVERY = """
import json
from yahoo_panoptes.discovery.panoptes_discovery_plugin import PanoptesDiscoveryPlugin
from yahoo_panoptes.framework.resources import *


class D(PanoptesDiscoveryPlugin):
    def run(self, context):
        assert context.data is None
        found = PanoptesResourceSet()
        for one in json.load(open(context.config["main"]["list"])):
            found.add(PanoptesResource.resource_from_dict(one))
        return found
"""


def test_what_a_discovery_unit_finds_a_polling_unit_runs_against(tmp_path):
    names = tmp_path / "list.json"
    names.write_text(json.dumps([resource("a"), resource("b")]))
    write(tmp_path / "d" / "d.py", DISCOVERY)
    path = write(tmp_path / "d" / "d.panoptes-plugin", info("D", "d.py", query="", more=f"list = {names}\n"))
    finder = checked(path, Host(tmp_path, id="panoptes.D"), "discovery")
    finder.run()
    assert "last result: 2 resources, 2 new, 0 gone" in finder.title
    job, host = polling(tmp_path, resources=[], every=1)
    job.run()
    host.wait_for_rows(2)
    # One goes, another one comes: noticed while the plugin runs.
    names.write_text(json.dumps([resource("b"), resource("c")]))
    finder._runs.all_now()
    finder.run()
    until(lambda: sorted(one.resource_id for one in job._targets.values()) == ["b", "c"])
    host.rows.clear()
    until(lambda: {row.tags["resource_endpoint"] for row in host.rows} >= {"b", "c"})
    assert "2 resources" in finder.title
    job.stop()
    finder.stop()


def test_a_resource_is_run_against_until_its_time_is_over_and_again_when_it_is_back(tmp_path):
    job, _ = polling(tmp_path, resources=[resource("keep")], every=3600)
    table, store = job._shared.table, job._shared.store
    now = [store.clock()]
    store.clock = lambda: now[0]
    table.replace(of(resource("a", 900)))
    job._look(job._clock())
    assert len(job._targets) == 2
    now[0] += 899
    job._look(job._clock())
    assert len(job._targets) == 2
    now[0] += 2
    job._look(job._clock())
    assert [one.resource_id for one in job._targets.values()] == ["keep"]
    assert len(job._schedule) == 1
    table.replace(of(resource("a", 900)))
    job._look(job._clock())
    assert len(job._targets) == 2
    job.stop()


def test_when_all_resources_are_gone_it_waits_again(tmp_path):
    host = Host(tmp_path)
    write(tmp_path / "p" / "x.py", POLLING)
    job = loaded(write(tmp_path / "p" / "x.panoptes-plugin", info()), host)
    table = job._shared.table
    table.replace(of(resource("a")))
    job.check()
    table._store.write(lambda one: one.execute("UPDATE resource SET expires = 1"))
    table.drop_expired()
    job._look(job._clock())
    assert job.run() is None
    (again,) = host.jobs
    assert again is not job
    job.stop()
    with pytest.raises(dialects.NotYet):
        again.check()
    again.stop()


def test_a_restart_goes_on_with_the_grid_of_each_resource(tmp_path):
    given = [resource("a"), resource("b"), resource("c")]
    job, host = polling(tmp_path, resources=given, every=60)
    job.run()
    job._look(job._clock())
    before = {key: round(job._wall(one.due)) for key, one in job._schedule._known.items()}
    job.stop()
    again, _ = polling(tmp_path, host=Host(tmp_path, resources=host.settings["resources"]), every=60)
    assert {key: round(again._wall(one.due)) for key, one in again._schedule._known.items()} == before
    again.stop()


def test_results_cache_age_lets_a_resource_rest(tmp_path):
    job, _ = polling(tmp_path, more="results_cache_age = 150\n")
    assert job.run() == pytest.approx(60, abs=1)
    (one,) = job._schedule._known.values()
    assert one.due - one.slot == pytest.approx(180)
    job.stop()


def test_two_resources_with_the_same_tags_are_warned_of(tmp_path):
    given = [resource("a", resource_endpoint="x"), resource("b", resource_endpoint="x")]
    job, host = polling(tmp_path, resources=given)
    assert "have the same tags" in host.warnings[0][1]
    job.stop()


def test_resource_id_may_be_a_tag(tmp_path):
    host = Host(tmp_path, resources=resources_file(tmp_path, resource("a")), resource_id_tag=True)
    job, _ = polling(tmp_path, host=host)
    job.run()
    job.stop()
    assert host.rows[0].tags["resource_id"] == "a"


def test_a_module_that_lies_elsewhere_counts_as_the_users_own(tmp_path):
    path = write(tmp_path / "site-packages" / "vendor" / "far.py", POLLING.replace("groups =", "groups = {}['x'] #"))
    host = Host(tmp_path, resources=resources_file(tmp_path, resource("a")))
    job = checked(write(tmp_path / "p" / "far.panoptes-plugin", info(module=str(path))), host)
    with pytest.raises(KeyError) as raised:
        job.run()
    job.stop()
    where = guard.where(guard.user_part(raised.value), host.is_user)
    assert [place["file"] for place in where] == [str(path)]


# --- a run that hangs ---


def test_a_run_that_hangs_is_shown_and_its_resource_rests_after_the_process_was_replaced(tmp_path, monkeypatch):
    left = []
    monkeypatch.setattr(job_module, "leave", left.append)
    go = tmp_path / "go"
    body = f"import os, time\n        while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    job, host = polling(tmp_path, body)
    job._runs._limit = 0.2
    job._plugin.every = job.every = 0.1
    job._runs.start()
    until(lambda: left)
    assert left == [1]
    code, text, file, line = host.warnings[0]
    assert (code, file) == ("PD0302", str(tmp_path / "p" / "x.py"))
    assert line in (8, 9)
    assert "against a has taken" in text
    assert "time.sleep(0.01)" in text
    assert host.replaced.startswith("a run of `X` against a has taken") and f", at x.py:{line}" in host.replaced
    go.write_text("")
    again, _ = polling(tmp_path, host=Host(tmp_path, resources=host.settings["resources"]))
    assert list(again._hung) == list(again._targets)
    (one,) = again._schedule._known.values()
    assert one.not_before > again._clock()
    again.stop()


def test_the_collector_does_not_begin_while_threads_are_looked_at(monkeypatch):
    seen = []
    frames = sys._current_frames

    def looked():
        seen.append(gc.isenabled())
        return frames()

    monkeypatch.setattr(sys, "_current_frames", looked)
    assert job_module._frame_of(threading.get_ident()) is not None
    assert job_module._frame_of(0) is None
    assert (seen, gc.isenabled()) == ([False, False], True)


def test_a_number_that_json_does_not_know_fails_no_run_by_hand(tmp_path, capsys):
    host = Host(tmp_path, mode="once", resources=str(tmp_path / "r.json"))
    (tmp_path / "r.json").write_text(json.dumps([resource("a")]))
    more = 'group.add_metric(PanoptesMetric("c", 1 + 2j, PanoptesMetricType.GAUGE))\n        groups.add(group)'
    write(tmp_path / "p" / "x.py", POLLING.replace("groups.add(group)", more))
    checked(write(tmp_path / "p" / "x.panoptes-plugin", info()), host).run()
    assert '"metric_value": "(1+2j)"' in capsys.readouterr().out
    assert [[one.field for one in row.readings] for row in host.rows] == [["v__gauge"]]
