# Counts lines of a log that grows. What stood there before the start does not count.
import os

from bases.FrameworkServices.LogService import LogService

ORDER = ["logins"]
CHARTS = {
    "logins": {
        "options": [None, "Logins", "logins", "logins", "logins.count", "line"],
        "lines": [["old", "old", "absolute"], ["users", "users", "absolute"]],
    }
}


class Service(LogService):
    def __init__(self, configuration=None, name=None):
        LogService.__init__(self, configuration=configuration, name=name)
        self.order = ORDER
        self.definitions = CHARTS
        self.log_path = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "auth.log")
        self.data = {"old": 0, "users": 0}

    def _get_data(self):
        lines = self._get_raw_data()
        while not lines:
            lines = self._get_raw_data()
        self.data["old"] += sum("before the start" in line for line in lines)
        self.data["users"] = len({line.split()[-1] for line in lines}) + 0.9
        return self.data
