"""The units of a collectd.conf, and how each is loaded, fails and ends."""

import pathlib
import re
import textwrap

import pytest

import collectd_lab as lab

READER = "import collectd\ncollectd.register_config(lambda node: None)\ncollectd.register_read(lambda: None)\n"


class Site:
    """A collectd.conf and the folder of its plugins."""

    def __init__(self, folder):
        self.folder = folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        self.conf = folder / "collectd.conf"

    def plugin(self, name, source):
        path = self.plugins / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return str(path)

    def write(self, *blocks, before=""):
        text = f'Hostname "web01"\nInterval 1\n{before}LoadPlugin python\n'
        for block in blocks:
            inner = textwrap.indent(textwrap.dedent(block), "  ")
            text += f'<Plugin python>\n  ModulePath "{self.plugins}"\n{inner}\n</Plugin>\n'
        self.conf.write_text(text)

    def listing(self, isolation="auto"):
        return lab.run_in_process(self.conf, listing=True, settings={"isolation": isolation})

    def run(self, *imports, runs=1, **keys):
        env = {"DIR": str(self.folder), "MODE": keys.pop("mode", "")}
        return lab.run_in_process(self.conf, env=env, runs=runs, settings={"imports": list(imports), **keys})


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def ids(listing):
    return [unit["id"] for unit in listing.units]


def faults(listing, code=""):
    return [(one[0], one[3], one[4], one[5], one[1]) for one in listing.faults if one[0].startswith(code)]


# --- listing ---


def test_imports_that_only_read_are_a_unit_each(site):
    site.plugin("a.py", READER)
    site.plugin("b.py", READER)
    site.write('Import "a"\nImport "b"\nImport "a"')
    listing = site.listing()
    assert ids(listing) == ["collectd.a", "collectd.b"]
    assert listing.units[0]["file"] == str(site.plugins / "a.py")
    assert listing.units[0]["parts"] == {"imports": ["a"]}
    assert {str(site.conf), str(site.plugins / "a.py")} <= set(listing.units[0]["reads"])
    assert str(site.plugins) in listing.looked
    assert ids(site.listing("block")) == ["collectd.block"]


@pytest.mark.parametrize(
    "kind, verb", [("write", "writes"), ("notification", "listens to"), ("log", "logs"), ("flush", "flushes")]
)
@pytest.mark.parametrize("when", ["at once", "in init"])
def test_a_listener_keeps_its_block_together(kind, verb, when, site):
    register = f"collectd.register_{kind}(print)"
    source = register if when == "at once" else f"collectd.register_init(lambda: {register})"
    site.plugin("a.py", READER)
    site.plugin("listener.py", f"import collectd\n{source}\n")
    site.plugin("c.py", READER)
    site.write('Import "a"\nImport "listener"', 'Import "c"')
    listing = site.listing()
    assert ids(listing) == ["collectd.block", "collectd.c"]
    assert f"one process: `listener` {verb}" in listing.units[0]["title"]
    assert ids(site.listing("import")) == ["collectd.a", "collectd.listener", "collectd.c"]


def test_a_writer_is_told_what_it_does_not_get(site):
    site.plugin("w.py", "import collectd\ncollectd.register_write(print)\n")
    site.write('Import "w"')
    assert "those of plugins in C do not come here" in faults(site.listing())[0][4]
    assert "of its own process only" in faults(site.listing("import"))[0][4]


def test_what_unregisters_only_is_no_listener(site):
    site.plugin("a.py", READER + "def end(): collectd.unregister_write('x')\n")
    site.plugin("b.py", READER)
    site.write('Import "a"\nImport "b"')
    assert ids(site.listing()) == ["collectd.a", "collectd.b"]


@pytest.mark.parametrize(
    "shared, together",
    [
        ("LIMIT = 5\nimport re\nNAME = re.compile('x')\ndef f(): return LIMIT\nclass A: pass\n", False),
        ("cache = {}\n", True),
        ("class A: pass\none = A()\n", True),
        ("n = 0\ndef f():\n    global n\n    n += 1\n", True),
    ],
)
def test_a_shared_module_matters_if_it_holds_state(shared, together, site):
    site.plugin("common.py", shared)
    site.plugin("a.py", READER + "import common\n")
    site.plugin("b.py", READER + "from common import *\n")
    site.write('Import "a"\nImport "b"')
    listing = site.listing()
    assert ids(listing) == (["collectd.block"] if together else ["collectd.a", "collectd.b"])
    if together:
        assert "`b` and `a` share a module that holds state" in listing.units[0]["title"]


def test_blocks_that_share_state_are_one_unit(site):
    site.plugin("a.py", READER + "cache = {}\n")
    site.plugin("b.py", READER + "import a\n")
    site.plugin("c.py", READER)
    site.write('Import "a"', 'Import "c"', 'Import "b"')
    assert [unit["parts"]["imports"] for unit in site.listing().units] == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    "source", ["import os; os._exit(3)", "import ctypes; ctypes.string_at(0)", "import time\nwhile True: time.sleep(1)"]
)
def test_an_import_that_ends_or_hangs_keeps_no_other_from_being_told(source, site):
    site.plugin("a.py", READER)
    site.plugin("bad.py", source)
    site.plugin("w.py", "import collectd\ncollectd.register_write(print)\n")
    site.write('Import "a"\nImport "bad"\nImport "w"')
    listing = site.listing()
    assert [unit["parts"]["imports"] for unit in listing.units] == [["bad"], ["a", "w"]]
    assert listing.units[0]["file"] == str(site.plugins / "bad.py")


def test_a_module_block_for_nobody_names_the_nearest(site):
    site.plugin("redis_info.py", READER)
    site.write('Import "redis_info"\n<Module redis_inf>\n  A 1\n</Module>')
    ((_, line, _, severity, text),) = faults(site.listing(), "PD0806")
    assert (line, severity) == (7, "warning") and text.endswith("did you mean `redis_info`?")


def test_a_module_block_before_its_import_is_told(site):
    site.plugin("a.py", READER)
    site.write('<Module a>\n  A 1\n</Module>\nImport "a"')
    ((_, line, _, _, text),) = faults(site.listing(), "PD0806")
    assert line == 6 and "stands before" in text


def test_mistakes_in_a_block_have_their_places(site):
    site.plugin("a.py", READER)
    site.write('Import "a"\nImport "cpu"\nFoo 1\nEncoding "utf-8"\n<Module a b>\n  A 1\n</Module>\nModulePath "/none"')
    found = [(line, column, severity) for _, line, column, severity, _ in faults(site.listing(), "PD0802")]
    assert found == [(7, 10, "error"), (8, 7, "error"), (9, 12, "warning"), (10, 11, "error"), (13, 14, "warning")]
    texts = [text for *_, text in faults(site.listing(), "PD0802")]
    assert texts[0] == "`cpu` is a plugin of collectd in C, no Python module"
    assert ids(site.listing()) == ["collectd.a"]


def test_what_is_not_ours_is_told_once(site):
    site.plugin("a.py", READER)
    site.write('Import "a"', before="LoadPlugin cpu\nLoadPlugin network\n")
    assert faults(site.listing()) == [("PD0802", 0, 0, "warning", "not ours: LoadPlugin cpu, network")]


# --- loading ---


def test_a_split_unit_gets_its_own_blocks_and_the_paths_of_all(site):
    other = site.folder / "other"
    other.mkdir()
    (other / "b.py").write_text("import collectd\ncollectd.register_read(lambda: None)\ncollectd.info('b is here')\n")
    site.plugin("a.py", "import collectd, b\ncollectd.register_config(lambda node: collectd.info(str(node.values)))\n")
    site.write(
        f'ModulePath "{other}"\nImport "a"', 'Import "b"\n<Module a>\n  A 1\n</Module>\n<Module b>\n  A 1\n</Module>'
    )
    result = site.run("a")
    assert [line for line in result.log if "('a',)" in line or "b is here" in line] == [
        "[info] b is here",
        "[info] ('a',)",
    ]


def test_a_plugin_may_be_a_package(site):
    site.plugin("pack/__init__.py", "")
    site.plugin(
        "pack/sub.py", "from .names import NAME\nimport collectd\ncollectd.register_read(lambda: collectd.info(NAME))\n"
    )
    site.plugin("pack/names.py", "NAME = 'of the package'\n")
    site.write('Import "pack.sub"')
    assert ids(site.listing()) == ["collectd.pack.sub"]
    assert "[info] of the package" in site.run("pack.sub").log


def test_the_module_of_ours_wins_over_one_beside_the_plugin(site):
    site.plugin("collectd.py", "raise ImportError('a stub for tests')\n")
    site.plugin("a.py", READER)
    site.write('Import "a"')
    assert site.run("a").failure is None


@pytest.mark.parametrize("name", ["numbers", "json", "selectors"])
def test_a_plugin_may_be_named_like_a_module_of_the_standard_library(name, site):
    path = site.plugin(f"{name}.py", READER)
    site.plugin("other.py", READER)
    site.write(f'Import "{name}"\n<Module {name}>\n  A 1\n</Module>\nImport "other"')
    listing = site.listing()
    assert ids(listing) == [f"collectd.{name}", "collectd.other"] and listing.units[0]["file"] == path
    assert faults(listing) == []
    result = site.run(name)
    assert (result.failure, result.jobs) == (None, [[f"python.{name}", 1.0]])


@pytest.mark.parametrize(
    "source, code, line",
    [
        ("import collectd\ndef broken(:\n", "PD0201", 2),
        ("import collectd\nimport not_there\n", "PD0202", 2),
        ("import collectd\n\n1 / 0\n", "PD0203", 3),
        ("x = 1\n", "PD0204", None),
    ],
)
def test_an_import_that_fails_is_a_failure_with_its_line(source, code, line, site):
    site.plugin("bad.py", source)
    site.write('Import "bad"')
    failure = site.run("bad").failure
    assert (failure["code"], failure["line"]) == (code, line)
    if code == "PD0204":
        assert failure["msg"] == "no callback was registered"


@pytest.mark.parametrize(
    "line", ['print "x"', "except IOError, error:", 'raise ValueError, "x"', "x = 0777", "print `x`"]
)
def test_python_2_is_told_as_such(line, site):
    source = f"try:\n    pass\n{line}\n    pass\n" if line.startswith("except") else f"x = 1\n{line}\n"
    site.plugin("old.py", source)
    site.write('Import "old"')
    failure = site.run("old").failure
    assert failure["code"] == "PD0201"
    assert failure["help"] == "it is written for Python 2; collectd's own build for Python 3 cannot run it either"


def test_one_that_fails_does_not_stop_the_others_of_its_process(site):
    site.plugin("bad.py", READER + "1 / 0\n")
    site.plugin(
        "picky.py",
        "import collectd\ndef config(node): raise ValueError('no Host')\n"
        + READER.replace("lambda node: None", "config"),
    )
    site.plugin(
        "good.py",
        "import collectd\ncollectd.register_read(lambda: collectd.Values(type='gauge', values=[1]).dispatch())\n",
    )
    site.write('Import "bad"\nImport "picky"\n<Module picky>\n  A 1\n</Module>\nImport "good"')
    result = site.run("bad", "picky", "good")
    assert result.failure is None and result.jobs == [["python.good", 1.0]] and len(result.rows) == 1
    codes = [(code, pathlib.Path(file).name, line) for code, _, file, line in result.warnings]
    assert codes == [("PD0203", "bad.py", 4), ("PD0203", "picky.py", 2)]
    assert result.warnings[1][1].startswith(
        "does not run: ValueError: config callback of picky raised ValueError: no Host"
    )
    failure = site.run("picky").failure
    assert re.search(r"collectd.conf:8:4: <Module picky>$", failure["notes"][-1])


def test_an_init_callback_that_raises_stops_nothing_and_is_told(site):
    site.plugin("a.py", READER + "def init(): raise OSError('no socket')\ncollectd.register_init(init)\n")
    site.write('Import "a"')
    result = site.run("a")
    assert result.jobs == [["python.a", 1.0]]
    ((code, text, _, line),) = result.warnings
    assert (code, text, line) == ("PD0203", "init callback of `python.a` raised OSError: no socket", 4)


def test_children_have_their_exit_codes(site):
    source = """
    import collectd, os, subprocess, getsigchld
    def read():
        collectd.info(f"codes {subprocess.call(['sh', '-c', 'exit 3'])} {os.system('exit 4') >> 8}")
    collectd.register_read(read)
    """
    site.plugin("a.py", source)
    site.plugin("getsigchld.py", "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_DFL)\n")
    site.write('Import "a"')
    assert "[info] codes 3 4" in site.run("a").log


def test_dispatch_at_import_and_in_config_works(site):
    source = """
    import collectd
    def put(name): collectd.Values(type="gauge", plugin=name, values=[1]).dispatch()
    put("at_import")
    collectd.register_config(lambda node: put("in_config"))
    collectd.register_init(lambda: put("in_init"))
    """
    site.plugin("a.py", source)
    site.write('Import "a"\n<Module a>\n  A 1\n</Module>')
    rows = site.run("a").rows
    assert [(name, tags["host"]) for name, tags, _, _ in rows] == [
        (name, "web01") for name in ("at_import", "in_config", "in_init")
    ]


def test_a_read_callback_that_comes_in_a_callback_runs(site):
    source = """
    import collectd
    def late(): collectd.info("late")
    collectd.register_init(lambda: collectd.register_read(late, 3, name="late"))
    """
    site.plugin("a.py", source)
    site.write('Import "a"')
    result = site.run("a")
    assert result.jobs == [["python.late", 3.0]] and "[info] late" in result.log


def test_a_plugin_file_alone_with_and_without_its_block(site):
    """As `pythond run plugin.py [--config FILE]` does it."""
    from pythond.dialects import Unit
    from pythond.dialects.collectd import current, units

    path = site.plugin(
        "alone_x.py",
        "nodes = []\n" + READER.replace("lambda node: None", "lambda node: nodes.append(node)"),
    )
    site.write('Import "other"\n<Module alone_x>\n  A 1\n</Module>')
    import sys

    before, argv = list(sys.path), list(sys.argv)
    try:
        for keys, blocks in (({}, 0), ({"config": str(site.conf)}, 1)):
            sys.modules.pop("alone_x", None)
            host = lab.Host(**keys)
            units.load(Unit("alone_x", path, "alone_x", [str(site.plugins)]), host)
            assert [job.key for job in host.jobs] == ["python.alone_x"]
            assert len(sys.modules["alone_x"].nodes) == blocks
            units.close(host)
    finally:
        sys.path[:], sys.argv[:] = before, argv
        current.attach(None)


def man_page():
    """Returns the configuration and the code of the man page: of ../shared, where that is there."""
    seeds = pathlib.Path(lab.CORE).parent.parent / "shared" / "seeds"
    for path in sorted(seeds.glob("*")) if seeds.is_dir() else ():
        text = path.read_text()
        if text.startswith("COLLECTD-PYTHON"):
            return text
    return None


def test_the_example_of_the_man_page(site):
    text = man_page()
    if text is None:
        pytest.skip("../shared/seeds is not there")
    conf = textwrap.dedent(text[text.index("         LoadPlugin python") : text.index("DESCRIPTION")])
    examples = text[text.index("\nEXAMPLES") : text.index("\nCAVEATS")]
    # The code stands deeper than the text between its parts.
    source = "\n".join(line[9:] for line in examples.splitlines() if line.startswith(" " * 9) or not line.strip())
    # Its `print` is Python 2's.
    source = re.sub(r'print (".*" % \(.*\))', r"print(\1)", source)
    more = """
    def say(word): open(__import__("os").environ["DIR"] + "/order", "a").write(word + "\\n")
    collectd.register_config(lambda node: say(f"config {[(one.key, one.values) for one in node.children]}"))
    collectd.register_init(lambda: say("init"))
    collectd.register_log(lambda severity, message: say(f"log {message}"))
    collectd.register_shutdown(lambda: say("shutdown"))
    """
    site.plugin("spam.py", source + textwrap.dedent(more))
    site.conf.write_text(conf.replace("/path/to/your/python/modules", str(site.plugins)))
    result = site.run("spam", runs=2)
    assert result.failure is None, result.failure
    assert (site.folder / "order").read_text().splitlines() == [
        "config [('spam', ('wonderful', 'lovely'))]",
        "init",
        "log Initialization complete, entering read-loop.",
        "log Exiting normally.",
        "log collectd: Stopping 5 read threads.",
        "log collectd: Stopping 5 write threads.",
        "shutdown",
    ]
    assert [(name, tags["type"]) for name, tags, _, _ in result.rows] == [("python.spam", "gauge")] * 2
    assert any(re.match(r"python\.spam \(gauge\): \d", line) for line in result.printed)
