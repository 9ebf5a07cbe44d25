"""Info files: how they are read, and what is said of those that are wrong."""

import configparser

import pytest
from panoptes_support import Host, info, write

from pythond.dialects import panoptes
from pythond.dialects.panoptes import folders
from pythond.dialects.panoptes.ini import Ini
from pythond.dialects.panoptes.plugin import Plugin, normalized

SAME = [
    "[a]\nx = 1\ny: 2\n",
    "[a]\nKey Name = 1\nx=\n",
    "[a]\nx = one\n  two\n\n  three\n[b]\ny = 1\n",
    "[a]\n# a comment\n; another\nx = 1 ; not a comment\n",
    "[a]\nx = one\n# between\n two\n",
    "[DEFAULT]\nd = 5\n[a]\nx = %(d)s%%\n[b]\n",
    "[a]\nx = %(y)s/%(Y)s\ny = %(z)s\nz = 3\n",
    "[a]\n  x = 1\n  y = 2\n",
    '[main]\nresource_filter = resource_id = "a:b"\n',
    "[a] trailing\nx = 1\n",
    "[a]\n\n\nx = 1\n\n",
    "[a]\nx = a = b : c\n",
]


@pytest.mark.parametrize("text", SAME)
def test_it_is_read_as_configparser_reads_it(text):
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert Ini(text).mistakes == []
    assert Ini(text).config() == {name: dict(parser[name]) for name in parser.sections()}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("100%", "100%"), ("%d of %%", "%d of %"), ("5 % of 10", "5 % of 10"), ("%%(x)s", "%(x)s"), ("a%", "a%")],
)
def test_a_lone_percent_is_taken_as_it_is(text, wanted):
    ini = Ini(f"[a]\nx = {text}\n")
    assert (ini.get("a", "x").text, ini.mistakes) == (wanted, [])


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ("x = 1\n[a]\n", 1, 1, "there must be a section such as `[Core]` before the first option"),
        ("[a]\nnothing\n", 2, 1, "the `=` or `:` is missing; a line must be `option = value`"),
        ("[a]\n = 5\n", 2, 2, "the name of the option is missing; a line must be `option = value`"),
        ("[a]\nx = 1\n[b]\ny = 1\nY = 2\n", 5, 1, "`y` is given twice, first in line 4"),
        ("[a]\n[b]\n[a]\n", 3, 1, "section `a` is given twice, first in line 1"),
        ("[a\nx = 1\n", 1, 1, "there must be a section such as `[Core]` before the first option"),
    ],
)
def test_a_mistake_has_its_place(text, line, column, why):
    mistake = Ini(text).mistakes[0]
    assert (mistake.line, mistake.column, mistake.text) == (line, column, why)


def test_all_mistakes_are_found_and_not_only_the_first():
    assert [one.line for one in Ini("[a]\nwrong\nx = 1\nwrong too\nx = 2\n").mistakes] == [2, 4, 5]


def test_a_reference_to_nothing_is_said_and_taken_as_it_is():
    ini = Ini("[a]\nx = %(nothing)s\n")
    assert ini.get("a", "x").text == "%(nothing)s"
    assert [(one.line, one.column, one.is_fatal) for one in ini.mistakes] == [(2, 5, False)]


def errors(text, type="polling"):
    plugin = Plugin("/p/x.panoptes-plugin", type, text)
    return [(one.code, one.line, one.column, one.text) for one in plugin.errors]


def test_a_good_file_says_what_it_says():
    plugin = Plugin("/p/x.panoptes-plugin", "polling", info("Tutorial Plugin", every=60, more="namespace = metrics\n"))
    assert (plugin.errors, plugin.warnings) == ([], [])
    assert (plugin.key, plugin.every, plugin.limit) == ("Tutorial_Plugin", 60.0, 75.0)
    config = plugin.config()
    assert config["main"]["execute_frequency"] == "60"
    assert config["Core"] == {"name": "Tutorial Plugin", "module": "x.py"}
    assert config["nothing"] == {}


def test_a_name_in_ids_is_that_of_panoptes():
    assert normalized("a_b c-é!") == "a__b_c___"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (info(every="60s"), ("PD0802", 5, 21, "`execute_frequency` is `60s`; it must be a whole number")),
        (info(every=0), ("PD0802", 5, 21, "`execute_frequency` is `0`; it must be a whole number of seconds above 0")),
        (info(every=-5), ("PD0802", 5, 21, "`execute_frequency` is `-5`")),
        (info(name="a;;b"), ("PD0802", 2, 8, "`Name` must not contain `;;`")),
        (info(name=""), ("PD0802", 2, 7, "`Name` is empty")),
        (info(module=""), ("PD0802", 3, 9, "`Module` is empty")),
        (info().replace("Name = X\n", ""), ("PD0802", 1, 0, "`Name` is missing in `[Core]`")),
        (info().replace("Module", "Modul"), ("PD0802", 3, 0, "`Module` is missing in `[Core]`")),
        (info(query=""), ("PD0808", 4, 0, "`resource_filter` is missing in `[main]`")),
        (info(more="results_cache_age = x\n"), ("PD0802", 7, 21, "`results_cache_age` is `x`")),
        (info(more="[enrichment]\npreload = self\n"), ("PD0802", 8, 11, "`preload` must be resource:namespace")),
        (info(more="[enrichment]\n"), ("PD0802", 7, 0, "`preload` is missing in `[enrichment]`")),
        (info(more="[main]\n"), ("PD0801", 7, 1, "section `main` is given twice, first in line 4")),
    ],
)
def test_a_wrong_value_has_its_place(text, wanted):
    (found,) = errors(text)
    assert found[:3] == wanted[:3]
    assert found[3].startswith(wanted[3])


def test_a_wrong_filter_is_shown_with_a_caret():
    ((code, line, column, text),) = errors(info(query="resource_id = 'a'"))
    assert (code, line, column) == ("PD0808", 6, 33)
    assert text == ("`resource_filter`: texts stand in double quotes: `\"`\nresource_id = 'a'\n              ^")


def test_a_frequency_of_another_name_is_pointed_at():
    text = info().replace("execute_frequency", "polling_frequency")
    plugin = Plugin("/p/x.panoptes-plugin", "polling", text)
    (fault,) = plugin.errors
    assert (fault.line, fault.text) == (5, "`execute_frequency` is missing in `[main]`: this plugin would never run")
    assert fault.help == "`polling_frequency` is for the plugin itself; did you mean `execute_frequency`?"


def test_what_is_missing_is_looked_for_under_nearly_its_name():
    text = info().replace("Name", "Nmae").replace("execute_frequency", "execute_freqency")
    found = Plugin("/p/x.panoptes-plugin", "polling", text.replace("resource_filter", "resource_fliter")).errors
    assert [(one.line, one.help) for one in found] == [
        (2, "did you mean it by `nmae`?"),
        (5, "did you mean it by `execute_freqency`?"),
        (6, "did you mean it by `resource_fliter`?"),
    ]


def test_a_section_that_is_missing_is_said_once_for_each_option_with_the_nearest_one():
    found = Plugin("/p/x.panoptes-plugin", "polling", info().replace("[Core]", "[core]").replace("[main]", "[mian]"))
    assert [(one.line, one.text, one.help) for one in found.errors] == [
        (1, "the section `[Core]` with `Name` is missing", "did you mean it by `[core]`?"),
        (1, "the section `[Core]` with `Module` is missing", "did you mean it by `[core]`?"),
        (
            4,
            "the section `[main]` with `execute_frequency` is missing: this plugin would never run",
            "did you mean it by `[mian]`?",
        ),
        (4, "the section `[main]` with `resource_filter` is missing", "did you mean it by `[mian]`?"),
    ]


def test_what_is_given_twice_hides_nothing_that_is_missing():
    assert [text for _, _, _, text in errors(info(query="").replace("Name = X\n", "Name = X\nName = Y\n"))] == [
        "`name` is given twice, first in line 2",
        "`resource_filter` is missing in `[main]`",
    ]


@pytest.mark.parametrize(
    ("text", "help"),
    [
        (info(every="60 ; a minute"), "a comment needs a line of its own"),
        (info(more="results_cache_age = 5 # s\n"), "a comment needs a line of its own"),
        (info(query='resource_id = "a" # all'), "a comment needs a line of its own"),
        (info(query='resource_id = "a" ; all'), "a comment needs a line of its own"),
        (info(query='"resource_id = "a""'), "the filter as a whole stands without quotes"),
        (info(every="60s"), ""),
        (info(query="resource_id = 'a'"), ""),
    ],
)
def test_a_value_that_is_wrong_in_a_way_that_is_known_has_a_help(text, help):
    (fault,) = Plugin("/p/x.panoptes-plugin", "polling", text).errors
    assert fault.help == help


def test_an_unknown_section_and_a_wrong_transform_are_warnings():
    plugin = Plugin("/p/x", "polling", info(more="[Main]\na = 1\n[transforms]\nok = rate:a:b\nbad = rate:a\n"))
    assert plugin.errors == []
    assert [(one.line, one.column, one.severity) for one in plugin.warnings] == [(7, 1, "warning"), (11, 7, "warning")]
    assert plugin.warnings[0].help == "did you mean `[main]`?"
    assert plugin.transforms.of("a") == {"b": 10}


def test_a_discovery_plugin_needs_no_filter():
    assert errors(info(query=""), "discovery") == []


# --- folders ---


def found(tmp_path, **settings):
    return folders.find(Host(tmp_path, **settings), [str(tmp_path)])


def texts(faults):
    return [one.text for one in faults]


def test_info_files_are_found_at_any_depth_and_through_links(tmp_path):
    write(tmp_path / "p" / "a.panoptes-plugin", info("A"))
    write(tmp_path / "p" / "deep" / "er" / "b.panoptes-plugin", info("B"))
    write(tmp_path / "elsewhere" / "c.panoptes-plugin", info("C"))
    (tmp_path / "p" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "p" / "deep" / "circle").symlink_to(tmp_path / "p")
    result = found(tmp_path, polling=["p"])
    assert [one.name for one in result.plugins] == ["A", "B", "C"]
    assert result.faults == []


def test_of_two_files_at_one_place_the_first_root_wins(tmp_path):
    for root in ("git", "local"):
        write(tmp_path / root / "p" / "a.panoptes-plugin", info(f"of {root}"))
    write(tmp_path / "local" / "p" / "b.panoptes-plugin", info("B"))
    host = Host(tmp_path, polling=["p"])
    result = folders.find(host, [str(tmp_path / "git"), str(tmp_path / "local")])
    assert [one.name for one in result.plugins] == ["of git", "B"]


def test_a_missing_folder_and_no_plugin_at_all_are_faults(tmp_path):
    result = found(tmp_path, polling=["nope"])
    assert texts(result.faults) == [
        f"`polling`: there is no folder `nope`; looked for: {tmp_path}/nope",
        "no plugin was found: no file `*.panoptes-plugin` below nope",
    ]
    assert texts(found(tmp_path).faults) == [
        "one of `polling`, `discovery`, `enrichment` must name a folder with plugins"
    ]


def test_a_missing_folder_is_watched_for(tmp_path):
    host = Host(tmp_path, polling=["nope"])
    folders.find(host, [str(tmp_path)])
    assert host.looked == [str(tmp_path / "nope")]


def test_an_example_that_was_left_as_it_is_gives_a_hint(tmp_path):
    write(tmp_path / "p" / "a.panoptes-plugin.example", info("A"))
    write(tmp_path / "p" / "b.panoptes-plugin.example", info("B"))
    write(tmp_path / "p" / "b.panoptes-plugin", info("B"))
    (fault,) = found(tmp_path, polling=["p"]).faults
    assert (fault.severity, fault.file) == ("warning", str(tmp_path / "p" / "a.panoptes-plugin.example"))


def test_a_name_that_is_taken_is_a_fault_with_both_places(tmp_path):
    write(tmp_path / "p" / "a.panoptes-plugin", info("A"))
    write(tmp_path / "p" / "b.panoptes-plugin", info("A"))
    result = found(tmp_path, polling=["p"])
    assert [one.path for one in result.plugins] == [str(tmp_path / "p" / "a.panoptes-plugin")]
    (fault,) = result.faults
    assert (fault.code, fault.line) == ("PD0105", 2)
    assert f"{tmp_path}/p/a.panoptes-plugin:2" in fault.text


def listing(tmp_path, **settings):
    from pythond.dialects import Unit

    host = Host(tmp_path, **settings)
    return panoptes.list(Unit("panoptes", roots=[str(tmp_path)], input="panoptes"), host), host


def test_a_listing_tells_a_unit_for_each_info_file_and_runs_nothing(tmp_path):
    write(tmp_path / "p" / "x.py", "raise SystemExit('was run')\n")
    write(tmp_path / "p" / "a.panoptes-plugin", info("Tutorial Plugin", "x.py"))
    write(tmp_path / "p" / "b.panoptes-plugin", info("Second", "/container/x.py", every=30))
    write(tmp_path / "d" / "a.panoptes-plugin", info("Second", "gone.py", query=""))
    told, host = listing(tmp_path, polling=["p"], discovery=["d"])
    assert [(one.id, one.title, one.every, one.parts) for one in told.units] == [
        ("panoptes.Tutorial_Plugin", "Tutorial Plugin (polling)", 60.0, {"type": "polling"}),
        ("panoptes.Second", "Second (polling)", 30.0, {"type": "polling"}),
        ("panoptes.Second-discovery", "Second (discovery)", 60.0, {"type": "discovery"}),
    ]
    assert told.units[0].reads == [str(tmp_path / "p" / "a.panoptes-plugin"), str(tmp_path / "p" / "x.py")]
    assert told.units[0].line == 2
    assert texts(told.faults) == ["there is no `/container/x.py`; `x.py` beside the info file is taken"]
    assert str(tmp_path / "p") in host.looked


def test_a_broken_info_file_is_a_unit_all_the_same_and_stops_no_other(tmp_path):
    write(tmp_path / "p" / "a.panoptes-plugin", "[Core]\nName = A\nModule = x\n[main]\nwrong\n")
    write(tmp_path / "p" / "b.panoptes-plugin", info("B"))
    told, _ = listing(tmp_path, polling=["p"])
    assert [one.id for one in told.units] == ["panoptes.A", "panoptes.B"]
