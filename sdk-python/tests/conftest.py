"""Makes the package of this tree importable, whatever is installed, and its pytest plugin effective."""

import faulthandler
import os
import sys

CORE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHADOW = os.path.join(CORE, "pythond", "dialects", "datakit", "shadow")
COLLECTD = os.path.join(CORE, "pythond", "dialects", "collectd", "shadow")
sys.path[:0] = [SHADOW, COLLECTD, CORE]

import pytest  # noqa: E402

from pythond.pytest_plugin import agent  # noqa: E402, F401

# Far more than any test takes, also on two busy cores.
LONGEST = 600


@pytest.fixture(autouse=True)
def bounded():
    """Ends the run with all stacks when a test waits for what never comes."""
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def core(tmp_path_factory):
    """The package with the dialects that tests need."""
    from support import core_of_tests

    return core_of_tests(tmp_path_factory.mktemp("core"))
