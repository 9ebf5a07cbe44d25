"""What our dialect prints is what the original printed, for each case: those of this tree, and those beside it.

Runs with `PYTHOND_DIFFERENTIAL=1` only, for it needs Debian's `netdata-plugins-python`, the data sources of the cases
and more than a minute. Some cases run at once: they mostly wait.
"""

import concurrent.futures
import glob
import json
import os
import pathlib
import subprocess

import pytest

from differential import HERE, PYTHON, Run, differences

ROOT = HERE.parents[2]
FOLDERS = [ROOT / "tests" / "cases" / "netdata", ROOT.parent / "shared" / "cases" / "netdata"]
CASES = sorted(path.parent for folder in FOLDERS for path in folder.glob("*/case.json"))
# Which library is not there, for the cases that shall pass without it, too.
WITHOUT = {"web": "urllib3", "drivers": "urllib3", "haproxy": "urllib3", "monit": "urllib3", "go_expvar": "urllib3"}
MODULES = "/usr/lib/netdata/python.d"
# More would make each other late, and what some print depends on how often they have run.
AT_ONCE = 6

pytestmark = pytest.mark.skipif(
    os.environ.get("PYTHOND_DIFFERENTIAL") != "1", reason="takes long: PYTHOND_DIFFERENTIAL=1 runs it"
)

# What we do better, and what the machine of a capture could not: the differences that must be there.
WANTED = {
    # One bad value ends the original's update.
    "probe_charts": ["pc_values.second row 8: {'second_a': 1, 'second_b': 2} != {'second_b': 2}"],
    # Exact names where the original looks for a part of one, and a job that fails in `create` never starts.
    "probe_run": [
        "chart only in A: netdata.runtime_pr_check_create_raise",
        "chart only in B: netdata.runtime_pr_names_local",
        "netdata.runtime_pr_names_same labels: "
        "[['_collect_job', 'n4', '1'], ['_collect_job', 'n6', '1']] != [['_collect_job', 'n4', '1']]",
        "chart only in B: pr_names_local.c",
        "pr_names_same.c labels: "
        "[['_collect_job', 'n4', '0'], ['_collect_job', 'n6', '0']] != [['_collect_job', 'n4', '0']]",
    ],
}
# The original makes this chart here as well; where it was captured nobody asked the server.
ALLOWED = {"bind_rndc": ["chart only in B: bind_rndc_local.incoming_queries"]}


def names():
    own = [(case, None) for case in CASES]
    return own + [(case, WITHOUT[case.name]) for case in CASES if case.name in WITHOUT]


@pytest.fixture(scope="module")
def outcomes():
    """Runs all cases, some at once; returns what each printed."""

    def printed(case, library):
        run = Run(case, PYTHON, [library] if library else [])
        try:
            return run.printed()
        finally:
            run.remove()

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = {key: pool.submit(printed, *key) for key in names()}
    return {key: future.result() for key, future in running.items()}


@pytest.mark.parametrize(
    ("case", "library"), names(), ids=lambda one: one.name if isinstance(one, pathlib.Path) else one
)
def test_it_prints_what_the_original_printed(outcomes, case, library):
    out, err = outcomes[case, library]
    found, _, _ = differences(case, out)
    found = [one for one in found if one not in ALLOWED.get(case.name, [])]
    assert found == WANTED.get(case.name, []), err


def test_there_are_at_least_twenty_stock_modules():
    modules = {name for case in CASES for name in json.loads((case / "case.json").read_text())["modules"]}
    stock = {os.path.basename(path)[: -len(".chart.py")] for path in glob.glob(f"{MODULES}/*.chart.py")}
    if not FOLDERS[1].is_dir():
        pytest.skip("some of the cases are beside the repository (../shared), which are not there")
    assert len(modules & stock) >= 20, sorted(modules & stock)


def test_every_stock_module_loads_or_says_in_one_line_what_it_lacks():
    command = [PYTHON, str(HERE / "stock_modules.py"), "/usr"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one for one in told if one[0] == "fault"] == []
    modules = {os.path.basename(path)[: -len(".chart.py")] for path in glob.glob(f"{MODULES}/*.chart.py")}
    assert {id.split(".")[1].partition(":")[0] for id, _, _ in told} == modules
    for id, state, why in told:
        assert state == "ok" or (why and "\n" not in why), id
        assert "Traceback" not in why and " object at 0x" not in why, why
        if state == "load-error":
            assert why.startswith("PD0202: No module named "), (id, why)
        elif state == "failing":
            # Its own check does not look whether its folder is there.
            assert id == "netdata.smartd_log", (id, why)
