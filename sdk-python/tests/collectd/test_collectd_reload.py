"""What a changed collectd.conf changes: the units that it concerns, and while it has a mistake nothing that runs."""

import json
import os
import pathlib
import textwrap

import pytest

import collectd_lab as lab

READER = "import collectd\ncollectd.register_config(lambda node: None)\ncollectd.register_read(lambda: None)\n"
WRITER = READER + "collectd.register_write(lambda values: None)\n"
BASE = 'Hostname "h"\nInterval 1\nLoadPlugin python\nInclude "@DIR@/conf/*.conf"\n'


class Site:
    """A collectd.conf, what it includes, plugins, and what the listings of it keep."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "conf").mkdir()
        self.write("collectd.conf", BASE)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).replace("@DIR@", str(self.folder)))

    def block(self, file, inner, folder="plugins"):
        inner = textwrap.indent(textwrap.dedent(inner), "  ")
        self.write(f"conf/{file}.conf", f'<Plugin python>\n  ModulePath "@DIR@/{folder}"\n{inner}\n</Plugin>\n')

    def listing(self, isolation="auto"):
        """Returns all that decides about a restart of a unit, by its id; and the mistakes."""
        keys = {"isolation": isolation, "state_dir": str(self.folder / "state")}
        told = lab.run_in_process(self.folder / "collectd.conf", listing=True, settings=keys)
        units = {}
        for unit in told.units:
            text = pathlib.Path(unit["parts"]["settings"]).read_text()
            units[unit["id"]] = json.dumps(unit, sort_keys=True), json.loads(text)
        mistakes = [f"{os.path.basename(one[2])}:{one[3]}:{one[4]}" for one in told.faults if one[5] == "error"]
        return units, mistakes


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    for name in ("one", "two"):
        found.write(f"plugins/{name}.py", READER)
        found.block(name, f'Import "{name}"\n<Module {name}>\n  Port 1\n</Module>')
    return found


def changed(before, after):
    """Returns the ids of the units that come, go or restart."""
    return sorted(unit for unit in {*before, *after} if before.get(unit) != after.get(unit))


def test_a_new_block_concerns_nobody_else_wherever_its_plugin_lies(site):
    before, _ = site.listing()
    site.write("elsewhere/new.py", READER)
    site.block("a_new", 'LogTraces true\nImport "new"\n<Module new>\n  A 1\n</Module>', folder="elsewhere")
    after, mistakes = site.listing()
    assert (changed(before, after), mistakes) == (["collectd.new"], [])
    assert [statement[0] for block in after["collectd.new"][1]["blocks"] for statement in block] == [
        "ModulePath",
        "LogTraces",
        "Import",
        "Module",
    ]


@pytest.mark.parametrize("name", ["nobody", "One", "two"])
def test_a_module_block_concerns_the_plugin_that_takes_it(name, site):
    before, _ = site.listing()
    # It may stand in the block of others.
    site.block("one", f'Import "one"\n<Module one>\n  Port 1\n</Module>\n<Module {name}>\n  A 1\n</Module>')
    after, _ = site.listing()
    assert changed(before, after) == {"nobody": [], "One": ["collectd.one"], "two": ["collectd.two"]}[name]


def test_a_block_that_nobody_takes_concerns_what_cannot_be_imported(site):
    site.write("plugins/one.py", READER + "1 / 0\n")
    before, _ = site.listing()
    site.block("two", 'Import "two"\n<Module two>\n  Port 1\n</Module>\n<Module other>\n  A 1\n</Module>')
    assert changed(before, site.listing()[0]) == ["collectd.one"]


def test_what_all_have_concerns_all(site):
    before, _ = site.listing()
    site.write("collectd.conf", BASE.replace("Interval 1", "Interval 2"))
    assert changed(before, site.listing()[0]) == ["collectd.one", "collectd.two"]


def test_lines_above_concern_nobody(site):
    before, _ = site.listing()
    site.write("collectd.conf", "# about\n\nLoadPlugin cpu\n" + BASE)
    site.block("one", '\n\n# moved\nImport "one"\n\n<Module one>\n\n  Port 1\n</Module>')
    assert changed(before, site.listing()[0]) == []


def test_what_a_plugin_uses_of_another_block_is_its_own(site):
    site.write("elsewhere/helper.py", "X = 1\n")
    site.write("conf/a.conf", '<Plugin python>\n  ModulePath "@DIR@/elsewhere"\n</Plugin>\n')
    site.write("plugins/one.py", READER + "import helper\n")
    units, _ = site.listing()
    folders = {
        unit: [one[1][0] for block in units[unit][1]["blocks"] for one in block if one[0] == "ModulePath"]
        for unit in units
    }
    plugins, elsewhere = f"{site.folder}/plugins", f"{site.folder}/elsewhere"
    assert folders == {"collectd.one": [elsewhere, plugins], "collectd.two": [plugins]}


def test_a_callback_finds_a_module_of_another_block(site):
    site.write("elsewhere/helper.py", "X = 1\n")
    site.write("conf/a.conf", '<Plugin python>\n  ModulePath "@DIR@/elsewhere"\n</Plugin>\n')
    source = "import collectd\ndef init():\n    import helper\n    collectd.info(f'helper {helper.X}')\n"
    site.write("plugins/one.py", source + "collectd.register_init(init)\n")
    units, _ = site.listing()
    result = lab.run_in_process(site.folder / "collectd.conf", parts=json.loads(units["collectd.one"][0])["parts"])
    assert "[info] helper 1" in result.log, result.log


MISTAKES = [
    # A key without an argument, one that is no key of this place, a block that is not closed.
    ('Import "one"\n<Module one>\n  Port\n</Module>', "one.conf:5:5"),
    ('Import "one"\nImprt "two"\n<Module one>\n  Port 9\n</Module>', "one.conf:4:9"),
    ('Import "one"\n<Module one>\n  Port 9', "one.conf:4:4"),
    ('Import "one"\n<Module one>\n  Port "9\n</Module>', "one.conf:5:10"),
]


@pytest.mark.parametrize("inner, place", MISTAKES)
def test_a_mistake_keeps_what_comes_from_its_file_and_nothing_else(inner, place, site):
    before, _ = site.listing()
    site.block("one", inner)
    site.block("two", 'Import "two"\n<Module two>\n  Port 2\n</Module>')
    after, mistakes = site.listing()
    assert place in mistakes
    assert changed(before, after) == ["collectd.two"]
    # The same again, as at the next start, and mended.
    assert site.listing()[0] == after
    site.block("one", 'Import "one"\n<Module one>\n  Port 9\n</Module>')
    mended, mistakes = site.listing()
    assert (changed(after, mended), mistakes) == (["collectd.one"], [])


def test_a_mistake_in_the_file_itself_keeps_everything(site):
    before, _ = site.listing()
    site.write("collectd.conf", BASE.replace("Interval 1", 'Interval "ten"').replace('conf/*.conf"', "conf/none.conf"))
    site.block("one", 'Import "one"')
    after, mistakes = site.listing()
    assert mistakes == ["collectd.conf:2:10", "collectd.conf:4:9"]
    assert changed(before, after) == []


@pytest.mark.parametrize("inner, place", MISTAKES)
def test_a_block_that_never_was_right_does_not_run_half(inner, place, site):
    site.block("one", inner)
    units, mistakes = site.listing()
    assert place in mistakes
    # A line that is for nobody is no part of what a plugin gets.
    assert sorted(units) == (["collectd.one", "collectd.two"] if "Imprt" in inner else ["collectd.two"])


def test_a_plugin_in_c_is_a_mistake_that_holds_nothing(site):
    site.block("one", 'Import "one"\nImport "cpu"')
    before, mistakes = site.listing()
    assert mistakes == ["one.conf:4:10"]
    site.block("one", 'Import "one"\nImport "cpu"\n<Module one>\n  Port 2\n</Module>')
    assert changed(before, site.listing()[0]) == ["collectd.one"]


def test_one_process_of_several_keeps_its_id(site):
    site.write("plugins/keep.py", WRITER)
    site.write("plugins/more.py", WRITER)
    site.block("two", 'Import "two"\nImport "keep"')
    before, _ = site.listing()
    assert sorted(before) == ["collectd.block2", "collectd.one"]
    site.write("plugins/first.py", READER)
    site.block("a", 'Import "first"\nImport "more"')
    after, _ = site.listing()
    assert changed(before, after) == ["collectd.block"]


def test_a_file_that_is_gone_takes_its_units_with_it(site):
    before, _ = site.listing()
    os.unlink(site.folder / "conf" / "one.conf")
    site.block("two", 'Import "two"\n<Module two>\n  Port')
    after, _ = site.listing()
    assert changed(before, after) == ["collectd.one"]
