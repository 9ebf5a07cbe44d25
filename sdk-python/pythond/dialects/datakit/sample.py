"""A collector that a zygote runs a few times before it forks."""

from __future__ import annotations

from datakit_framework import DataKitFramework

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Sample(DataKitFramework):
    interval = 1

    def run(self) -> Any:
        return self.feed_metric(measurement="sample", tags={"a": "b"}, fields={"one": 1, "half": 0.5})
