"""The pytest plugin: the fixture `agent`, and `import datakit_framework` in tests."""

from __future__ import annotations

import sys

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from pythond.testing import FakeAgent


def pytest_configure(config: pytest.Config) -> None:
    from pythond.dialects import datakit

    shadow = datakit.PATH_FIRST[0]
    if shadow not in sys.path:
        sys.path.insert(0, shadow)


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    """An agent that takes, checks and keeps what the collectors of the test report."""
    from pythond.testing import FakeAgent

    with FakeAgent() as fake:
        yield fake
