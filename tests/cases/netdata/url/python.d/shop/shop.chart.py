# A shop asked over HTTP; its JSON has numbers, fractions as texts, and things that are no number.
from json import loads

from bases.FrameworkServices.UrlService import UrlService

ORDER = ["orders", "load"]
CHARTS = {
    "orders": {
        "options": [None, "Orders", "orders/s", "orders", "shop.orders", "line"],
        "lines": [["paid", None, "incremental"]],
    },
    "load": {
        "options": [None, "Load", "load", "load", "", "line"],
        "lines": [["load1", None, "absolute", 1, 2], ["load5"], ["load15"]],
    },
}


class Service(UrlService):
    def __init__(self, configuration=None, name=None):
        UrlService.__init__(self, configuration=configuration, name=name)
        self.order = ORDER
        self.definitions = CHARTS
        self.url = self.configuration.get("url", "http://localhost/stats")

    def _get_data(self):
        raw = self._get_raw_data()
        return loads(raw) if raw else None
