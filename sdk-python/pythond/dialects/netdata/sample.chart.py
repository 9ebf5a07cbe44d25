"""A module that does what all do; the zygote runs it before it forks."""

from __future__ import annotations

from bases.FrameworkServices.SimpleService import SimpleService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ORDER = ["sample"]
CHARTS = {
    "sample": {
        "options": [None, "Sample", "numbers", "sample", "sample.numbers", "line"],
        "lines": [["level"], ["events", None, "incremental", 1, 1]],
    }
}


class Service(SimpleService):
    def __init__(self, configuration: Any = None, name: Any = None) -> None:
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order = ORDER
        self.definitions = CHARTS

    def get_data(self) -> Any:
        return {"level": self.runs_counter / 2, "events": self.runs_counter}
