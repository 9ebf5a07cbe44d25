"""The units of an input: where modules are found, which run, and how they are named."""

import os

import pytest

from fake_host import FakeHost, load, units_of
from netdata.conftest import SERVICE
from pythond import loader
from pythond.dialects import netdata
from pythond.dialects.netdata import marked


def test_modules_are_found_in_a_folder_and_one_level_below(lab, tmp_path):
    for place in ("a.chart.py", "b/b.chart.py", "c/d/e.chart.py", "b/a.chart.py", "python_modules/x.chart.py", "x.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(SERVICE)
    units, off, faults = lab.listed()
    assert {id: unit.file for id, unit in units.items()} == {
        "netdata.a": str(tmp_path / "a.chart.py"),
        "netdata.b": str(tmp_path / "b/b.chart.py"),
    }
    assert not off and not faults
    assert str(tmp_path) in lab.host.looked and str(tmp_path / "b") in lab.host.looked


def test_relative_folders_are_looked_for_in_each_root(tmp_path):
    for root, name in (("repo", "x"), ("local", "x"), ("local", "y")):
        (tmp_path / root / "weather").mkdir(parents=True, exist_ok=True)
        (tmp_path / root / "weather" / f"{name}.chart.py").write_text(SERVICE)
    host = FakeHost({"dirs": ["weather"]}, input="w")
    units, _, _ = units_of(netdata, host, roots=[tmp_path / "repo", tmp_path / "local"])
    assert units["w.x"].file == str(tmp_path / "repo/weather/x.chart.py"), "the first one wins"
    assert set(units) == {"w.x", "w.y"}


def test_a_single_file_works_too_and_needs_no_settings(lab, tmp_path):
    lab.module("", name="a").module("", name="b")
    assert set(lab.listed(dirs=[str(tmp_path / "a.chart.py")])[0]) == {"netdata.a"}
    host = FakeHost()
    units, _, faults = units_of(netdata, host, file=tmp_path / "b.chart.py")
    assert set(units) == {"netdata.b"} and not faults


def test_without_any_module_the_settings_are_wrong(lab, tmp_path):
    _, _, (fault,) = lab.listed(install=str(tmp_path / "prefix"))
    assert (fault.code, fault.severity, fault.file) == ("PD0106", "error", "")
    assert f"looked in {tmp_path}, {tmp_path}/prefix/lib/netdata/python.d" in fault.text


def test_modules_names_the_only_ones_and_a_wrong_name_has_a_hint(lab):
    lab.module("", name="nginx").module("", name="other")
    units, off, (fault,) = lab.listed(modules=["nginx", "ngnix"])
    assert set(units) == {"netdata.nginx"} and not off
    assert (fault.code, fault.text) == ("PD0106", "no module ngnix; did you mean nginx")


def test_a_module_that_is_disabled_is_off_and_says_where(lab, tmp_path, needs_yaml):
    lab.module("", name="a", head="disabled_by_default = True\n" + SERVICE).module("", name="b")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/python.d.conf").write_text("enabled: yes\nb: no\n")
    units, off, _ = lab.listed(conf=[str(tmp_path / "etc")])
    assert not units
    assert off == {
        "netdata.a": f"{tmp_path}/a.chart.py:1: disabled_by_default",
        "netdata.b": f"{tmp_path}/etc/python.d.conf:2: b: no",
    }
    units, off, _ = lab.listed(conf=[str(tmp_path / "etc")], modules=["b"])
    assert "runs although it is off" in units["netdata.b"].title and not off
    units, _, _ = lab.listed(file=tmp_path / "a.chart.py")
    assert set(units) == {"netdata.a"}, "named on the command line"


def test_each_actual_name_is_a_unit_and_its_jobs_are_ways(lab, tmp_path, needs_yaml):
    conf = "tcp: {name: local}\nother: {name: m}\nsock: {name: local}\nlocal2: {}\n'my job': {update_every: 5}\n"
    lab.module("", conf=conf)
    units, off, _ = lab.listed()
    path = str(tmp_path / "m.conf")
    assert list(units) == ["netdata.m:local", "netdata.m", "netdata.m:local2", "netdata.m:my_job"]
    local = units["netdata.m:local"]
    assert (local.title, local.reads, local.quiet) == (f"{path}:1", [str(tmp_path / "m.chart.py"), path], False)
    assert local.parts["jobs"] == ["tcp", "sock"] and local.parts["conf"] == path
    assert units["netdata.m:my_job"].every == 5
    assert off == {"netdata.m:local/sock": f"{path}:3: already served by job tcp, or tried after it"}


def test_a_job_has_its_configuration_from_the_listing_and_is_no_reader_of_the_file(lab, tmp_path, needs_yaml):
    lab.module("", conf="update_every: 3\na: {lst: [1, {z: 1.5, b: yes}], labels: {dc: eu}}\nb: {x: 1}\n")
    before, _, _ = lab.listed()
    lab.host.read_files.clear()
    (tmp_path / "m.conf").write_text("nothing of it: {}\n")
    job = load(netdata, before["netdata.m:a"], lab.host)
    assert lab.host.read_files == []
    (way,) = job._ways
    made = way.conf.configuration({}, 1, lab.host.reads)
    assert list(made["lst"][1].items()) == [("z", 1.5), ("b", True)] and type(made["lst"][1]).__name__ == "OrderedDict"
    assert (made["update_every"], made["job_name"], way.conf.labels) == (3, "a", {"dc": "eu"})
    assert (way.conf.conf, way.conf.line) == (str(tmp_path / "m.conf"), 2)


def test_a_change_of_one_job_changes_nothing_in_what_is_told_of_the_others(lab, tmp_path, needs_yaml):
    before, _, _ = lab.module("", conf="a: {x: 1}\nb: {x: 1}\n").listed()
    (tmp_path / "m.conf").write_text("a: {x: 2}\nb: {x: 1}\n")
    after, _, _ = lab.listed()
    assert before["netdata.m:a"].parts != after["netdata.m:a"].parts
    assert before["netdata.m:b"].parts == after["netdata.m:b"].parts


@pytest.mark.parametrize(("isolation", "process"), [("job", ""), ("module", "netdata.m"), ("input", "netdata")])
def test_isolation_says_who_shares_a_process(lab, isolation, process):
    units, _, _ = lab.module("").listed(isolation=isolation)
    assert units["netdata.m"].process == process


def test_the_first_configuration_wins_whole(lab, tmp_path, needs_yaml):
    lab.module("", conf="beside: {}\n")
    for name in ("one", "two"):
        (tmp_path / name / "python.d").mkdir(parents=True)
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert set(lab.listed(conf=folders)[0]) == {"netdata.m:beside"}
    (tmp_path / "two/python.d/m.conf").write_text("second: {}\n")
    assert set(lab.listed(conf=folders)[0]) == {"netdata.m:second"}
    (tmp_path / "one/python.d/m.conf").write_text("first: {}\n")
    assert set(lab.listed(conf=folders)[0]) == {"netdata.m:first"}


@pytest.fixture
def prefix(tmp_path):
    """An installation with two modules, one of them in the user's configuration."""
    root = tmp_path / "opt"
    for name in ("lib/netdata/python.d", "lib/netdata/conf.d/python.d", "etc/netdata/python.d"):
        (root / name).mkdir(parents=True)
    for name in ("a", "b", "nginx_log"):
        (root / f"lib/netdata/python.d/{name}.chart.py").write_text(SERVICE)
    return root


def test_an_installation_is_stock_and_quiet_but_for_the_users_own_configuration(prefix, needs_yaml):
    (prefix / "lib/netdata/conf.d/python.d/a.conf").write_text("stock: {}\n")
    (prefix / "lib/netdata/conf.d/python.d.conf").write_text("b: no\n")
    (prefix / "etc/netdata/python.d.conf").write_text("b: yes\n")
    host = FakeHost({"install": str(prefix)})
    units, off, faults = units_of(netdata, host)
    assert {id: unit.quiet for id, unit in units.items()} == {"netdata.a:stock": True, "netdata.b": True}
    (prefix / "etc/netdata/python.d/a.conf").write_text("own: {}\n")
    units, _, faults = units_of(netdata, FakeHost({"install": str(prefix)}))
    assert {id: unit.quiet for id, unit in units.items()} == {"netdata.a:own": False, "netdata.b": True}
    assert not off and not faults


def test_an_installations_libraries_come_behind_ours(prefix):
    from fake_host import load

    extras = prefix / "lib/netdata/python.d/python_modules/third_party"
    extras.mkdir(parents=True)
    (extras / "mcrcon.py").write_text("who = 'theirs'")
    (extras / "monotonic.py").write_text("monotonic = None")
    (prefix / "lib/netdata/python.d/a.chart.py").write_text("from third_party import mcrcon, monotonic\n" + SERVICE)
    host = FakeHost({"install": str(prefix)})
    try:
        load(netdata, units_of(netdata, host)[0]["netdata.a"], host)
        import third_party
        from third_party import mcrcon, monotonic

        assert mcrcon.who == "theirs" and monotonic.monotonic is not None
    finally:
        third_party.__path__.remove(str(extras))


def test_a_mistake_in_one_file_leaves_the_others(lab, tmp_path, needs_yaml):
    lab.module("", name="a", conf="x: [").module("", name="b", conf="one: {update_every: fast}\ntwo: {}\n")
    units, _, faults = lab.listed()
    assert set(units) == {"netdata.b:two"}
    assert [(fault.code, os.path.basename(fault.file), fault.line, fault.column) for fault in faults] == [
        ("PD0801", "a.conf", 1, 5),
        ("PD0802", "b.conf", 1, 21),
    ]


def test_what_does_not_belong_is_named(lab, tmp_path, needs_yaml):
    lab.module("", conf="")
    (tmp_path / "lonely.conf").write_text("")
    (tmp_path / "kit.py").write_text("from datakit_framework import DataKitFramework")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "p.panoptes-plugin").write_text("")
    (tmp_path / "etc/python.d").mkdir(parents=True)
    (tmp_path / "etc/python.d/gone.conf").write_text("")
    (tmp_path / "etc/python.d.conf").write_text("nobody: yes\n")
    _, _, faults = lab.listed(conf=[str(tmp_path / "etc")])
    found = {(fault.code, os.path.basename(fault.file)): fault for fault in faults}
    assert all(fault.severity == "warning" for fault in faults)
    assert set(found) == {
        ("PD0804", "lonely.conf"),
        ("PD0804", "gone.conf"),
        ("PD0805", "kit.py"),
        ("PD0805", "p.panoptes-plugin"),
        ("PD0802", "python.d.conf"),
    }
    assert found["PD0804", "lonely.conf"].text.startswith("lonely.conf has no lonely.chart.py in ")
    assert "[[inputs.pythond]]" in found["PD0805", "kit.py"].text


def test_nothing_of_a_module_runs_while_it_is_listed(lab, tmp_path):
    lab.module("", head=f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "netdata.m" in lab.listed()[0]
    assert not (tmp_path / "ran").exists()


def test_settings_of_the_command_line_make_a_job_without_a_file(lab, needs_yaml):
    lab.module("", conf="a: {}\n")
    units, _, _ = lab.listed(set={"url": "x", "update_every": 3})
    assert set(units) == {"netdata.m"} and units["netdata.m"].every == 3
    job = lab.job(set={"url": "x"})
    assert job._ways[0].conf.keys == {"url": "x"}


def test_without_pyyaml_a_module_without_configuration_runs(lab, monkeypatch):
    monkeypatch.setattr(marked, "yaml", None)
    lab.module("def get_data(self): return {'v': 1}", name="bare")
    lab.module("", name="empty", conf="# nothing\n").module("", name="full", conf="a: {}\n")
    units, _, faults = lab.listed()
    assert set(units) == {"netdata.bare", "netdata.empty", "netdata.full"} and not faults
    assert lab.run("netdata.bare")
    lab.job("netdata.empty")
    with pytest.raises(loader.Failure) as caught:
        lab.job("netdata.full")
    assert caught.value.frame["code"] == "PD0202" and "apt install python3-yaml" in caught.value.frame["help"]
