"""Makes the package of this tree importable, whatever is installed, and its pytest plugin effective."""

import os
import sys

CORE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHADOW = os.path.join(CORE, "pythond", "dialects", "datakit", "shadow")
sys.path[:0] = [SHADOW, CORE]

from pythond.pytest_plugin import agent  # noqa: E402, F401
