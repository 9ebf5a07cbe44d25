"""What an input reads: globals, `LoadPlugin`, `Include`, types.db, `modules`."""

import pytest

import collectd_lab as lab
from pythond import loader
from pythond.dialects.collectd import data_sets, known_types
from pythond.dialects.collectd import settings as settings_
from pythond.dialects.collectd.plugins import config_of, imports_of


def read(tmp_path, conf, **keys):
    (tmp_path / "c.conf").write_text(conf)
    return settings_.read(lab.Host(config=str(tmp_path / "c.conf"), **keys))


def told(settings):
    return [(one.code, one.severity, one.line, one.column, one.text) for one in settings.faults]


def test_globals_and_the_interval_of_load_plugin(tmp_path):
    conf = 'Hostname "h"\nInterval 7\nTimeout 3\nMaxReadInterval 60\nReadThreads 2\n'
    settings = read(tmp_path, conf + "<LoadPlugin python>\n  Interval 2.5\n  Globals true\n</LoadPlugin>\n")
    assert (settings.texts["hostname"], settings.interval, settings.shape.timeout) == ("h", 2.5, 3.0)
    assert settings.numbers["maxreadinterval"] == 60 and settings.numbers["readthreads"] == 2
    assert told(settings) == []


def test_our_own_keys_win(tmp_path):
    settings = read(tmp_path, 'Hostname "h"\nInterval 7\nLoadPlugin python\n', hostname="own", interval=3)
    assert (settings.texts["hostname"], settings.interval) == ("own", 3.0)


def test_without_them_it_is_the_machine_and_10_s(tmp_path):
    settings = read(tmp_path, "LoadPlugin python\n")
    assert (settings.texts["hostname"], settings.interval) == ("machine", 10.0)


def test_what_is_not_ours_is_listed_once_and_its_oddities_are_not(tmp_path):
    conf = "LoadPlugin cpu\nLoadPlugin network\n<Plugin network>\n  Server a-b True\n</Plugin>\n"
    conf += (
        '<Chain "PostCache">\n  Target "write"\n</Chain>\n<Plugin python>\n  Import "x"\n</Plugin>\nLoadPlugin python\n'
    )
    settings = read(tmp_path, conf)
    assert settings.foreign == ["LoadPlugin cpu, network", "<Chain PostCache>"]
    assert told(settings) == []


def test_a_wrong_number_has_its_place(tmp_path):
    settings = read(tmp_path, 'Interval "ten"\nReadThreads -1\nLoadPlugin python\n')
    assert told(settings) == [
        ("PD0802", "error", 1, 10, '`Interval "ten"`: it must be one number above 0, 10 is taken'),
        ("PD0802", "error", 2, 13, "`ReadThreads -1`: it must be one number above 0, 5 is taken"),
    ]


def test_a_block_without_load_plugin_is_run_with_a_warning(tmp_path):
    settings = read(tmp_path, '<Plugin python>\n  Import "x"\n</Plugin>\n')
    assert [one.name for one in imports_of(settings)] == ["x"]
    assert "no `LoadPlugin python`" in told(settings)[0][4]


def test_includes_come_in_place(tmp_path):
    folder = tmp_path / "conf.d"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.conf").write_text('Hostname "b"\n')
    (folder / "a.conf").write_text('Hostname "a"\nInterval 1\n')
    (folder / ".hidden").write_text("broken\n")
    (folder / "sub" / "c.conf").write_text('Hostname "c"\n')
    settings = read(tmp_path, f'Include "{folder}"\nInterval 5\n')
    # Sorted bytewise, folders among them; the later wins.
    assert (settings.texts["hostname"], settings.interval) == ("c", 5.0)
    settings = read(tmp_path, f'Include "{folder}/[ab].conf"\n')
    assert settings.texts["hostname"] == "b"
    settings = read(tmp_path, f'<Include "{folder}">\n  Filter "a*"\n</Include>\n')
    assert settings.texts["hostname"] == "a"
    assert told(settings) == []


def test_a_fault_in_an_included_file_names_that_file(tmp_path):
    (tmp_path / "x.conf").write_text("A\n")
    settings = read(tmp_path, 'Include "x.conf"\n')
    assert [(one.file, one.line) for one in settings.faults] == [(str(tmp_path / "x.conf"), 1)]


def test_an_include_that_finds_nothing_warns(tmp_path):
    assert told(read(tmp_path, f'Include "{tmp_path}/none/*.conf"\n'))[0][:4] == ("PD0802", "warning", 1, 9)


def test_an_include_takes_no_braces_but_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path))
    (tmp_path / "a.conf").write_text("Interval 5\n")
    settings = read(tmp_path, 'Include "${WHERE}/a.conf"\n')
    assert (settings.numbers["interval"], told(settings)) == (5.0, [])
    settings = read(tmp_path, f'Include "{tmp_path}/{{a,b}}.conf"\n')
    assert told(settings)[0][:4] == ("PD0802", "error", 1, 9)


def test_includes_end_at_the_eighth(tmp_path):
    (tmp_path / "c.conf").write_text(f'Include "{tmp_path}/c.conf"\n')
    settings = settings_.read(lab.Host(config=str(tmp_path / "c.conf")))
    assert told(settings) == [("PD0801", "error", 1, 9, "`Include` is nested deeper than 8 files")]


def test_no_file_at_all_is_a_failure(tmp_path):
    with pytest.raises(loader.Failure) as failure:
        settings_.read(lab.Host(config=str(tmp_path / "none.conf")))
    assert failure.value.frame["code"] == "PD0801"


# --- types ---


def types_of(text):
    types, faults = data_sets.Types(), []
    types.add(text.encode(), "types.db", faults)
    return types, [(one.line, one.column, one.text) for one in faults]


def shape(data_set):
    return [(one.name, one.kind, one.min, one.max) for one in data_set]


def test_a_types_db_is_read_with_or_without_commas():
    types, faults = types_of("# c\n\nload a:GAUGE:0:5000, b:gauge:U:U\r\nio rx:DERIVE:0:U tx:COUNTER:U:1.5\n")
    assert shape(types.sets["load"]) == [("a", "gauge", 0.0, 5000.0), ("b", "gauge", None, None)]
    assert shape(types.sets["io"]) == [("rx", "derive", 0.0, None), ("tx", "counter", None, 1.5)]
    assert faults == []


def test_a_bad_line_is_left_out_with_its_place():
    types, faults = types_of("a value:GAUGE:0\nb x:FLOAT:0:U\nd\ne v:GAUGE:0:U\n" + "f " + "x" * 5000)
    assert sorted(types.sets) == ["e"]
    assert [(line, column) for line, column, _ in faults] == [(1, 3), (2, 3), (3, 1), (5, 1)]


def test_a_limit_that_is_no_number_is_what_c_reads_and_told():
    types, faults = types_of("a x:GAUGE:low:12km,\nb x:gauge:u:0x20 y:GAUGE:-1e3:1E+2\nc x:GAUGE:nan:.5.\n")
    assert shape(types.sets["a"]) == [("x", "gauge", 0.0, 12.0)]
    assert shape(types.sets["b"]) == [("x", "gauge", None, 32.0), ("y", "gauge", -1000.0, 100.0)]
    assert shape(types.sets["c"]) == [("x", "gauge", None, 0.5)]
    assert [(line, column) for line, column, _ in faults] == [(1, 3), (1, 3), (3, 3)]


@pytest.mark.parametrize(
    ("conf", "seconds"),
    [
        ("Interval 3\nLoadPlugin python\n", 3.0),
        ("LoadPlugin python\nInterval 3\n", 10.0),
        ("Interval 2\nLoadPlugin python\nInterval 3\nLoadPlugin python\n", 2.0),
        ("<LoadPlugin python>\nInterval 5\n</LoadPlugin>\nInterval 3\n", 5.0),
        ("AutoLoadPlugin true\nInterval 2\n<Plugin python>\nImport a\n</Plugin>\nInterval 3\n", 2.0),
    ],
)
def test_the_interval_is_that_of_when_python_is_loaded(tmp_path, conf, seconds):
    settings = read(tmp_path, conf)
    assert settings.interval == seconds
    assert settings.numbers["interval"] == 3.0


def test_the_later_of_two_types_wins():
    types, _ = types_of("a v:GAUGE:0:U\na w:DERIVE:U:U\n")
    assert types.replaced == ["a"] and types.sets["a"][0].name == "w"


def test_our_own_types_hold_where_there_are_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(data_sets, "INSTALLED", str(tmp_path / "none"))
    settings = read(tmp_path, f'TypesDB "{tmp_path}/missing.db"\n')
    assert shape(settings.types.sets["load"])[0] == ("shortterm", "gauge", 0.0, 5000.0)
    assert settings.types.files == ["the types of pythond"] and "cannot read the types" in told(settings)[0][4]
    types, faults = types_of(known_types.text())
    assert faults == [] and types.replaced == [] and len(types.sets) > 150


def test_types_of_the_user_come_last(tmp_path, monkeypatch):
    (tmp_path / "installed.db").write_text("a v:GAUGE:0:1\nb v:GAUGE:0:1\n")
    (tmp_path / "own.db").write_text("a v:GAUGE:0:2\n")
    monkeypatch.setattr(data_sets, "INSTALLED", str(tmp_path / "installed.db"))
    sets = read(tmp_path, "LoadPlugin python\n", types_db=[str(tmp_path / "own.db")]).types.sets
    assert (sets["a"][0].max, sets["b"][0].max) == (2.0, 1.0)


# --- without a collectd.conf ---


def test_modules_and_their_tables(tmp_path):
    (tmp_path / "collectd").mkdir()
    (tmp_path / "collectd" / "redis_info.py").write_text("")
    table = {"Host": "localhost", "Port": 6379, "Flags": ["a", True], "Sub": {"Key": 1}, "Two": [{"A": 1}, {"B": 2}]}
    host = lab.Host(modules=["collectd/redis_info.py", "none.py"], module={"redis_info": table})
    settings = settings_.read(host, [str(tmp_path)])
    assert [one.name for one in imports_of(settings)] == ["redis_info"]
    node = config_of(settings.blocks[0].item.children[-1], None)
    assert (node.key, node.values, node.parent) == ("Module", ("redis_info",), None)
    shown = [(one.key, one.values, len(one.children)) for one in node.children]
    assert shown == [
        ("Host", ("localhost",), 0),
        ("Port", (6379.0,), 0),
        ("Flags", ("a", True), 0),
        ("Sub", (), 1),
        ("Two", (), 1),
        ("Two", (), 1),
    ]
    assert "none.py is not there" in told(settings)[0][4]
