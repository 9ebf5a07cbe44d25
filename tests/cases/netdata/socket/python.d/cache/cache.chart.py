# A cache asked over its socket, in the manner of modules for memcached.
from bases.FrameworkServices.SocketService import SocketService

ORDER = ["memory", "traffic", "hits"]
CHARTS = {
    "memory": {
        "options": [None, "Memory", "MiB", "memory", "cache.memory", "stacked"],
        "lines": [
            ["available", "available", "absolute", 1, 1048576],
            ["bytes", "used", "absolute", 1, 1048576],
        ],
    },
    "traffic": {
        "options": [None, "Traffic", "kilobits/s", "network", "cache.traffic", "area"],
        "lines": [["bytes_read", "in", "incremental", 8, 1000], ["still", "out", "incremental", -8, 1000]],
    },
    "hits": {
        "options": [None, "Hits", "percentage", "hits", "cache.hits", "line"],
        "lines": [["get_hits", "hits", "percentage-of-absolute-row"], ["get_misses", "misses", "percentage-of-absolute-row"]],
    },
}


class Service(SocketService):
    def __init__(self, configuration=None, name=None):
        SocketService.__init__(self, configuration=configuration, name=name)
        self.request = "stats\r\n"
        self.host = "localhost"
        self.port = 11211
        self._keep_alive = True
        self.order = ORDER
        self.definitions = CHARTS

    def _check_raw_data(self, data):
        return data.endswith("END\r\n")

    def _get_data(self):
        response = self._get_raw_data()
        if not response:
            self.error("no answer")
            return None
        data = dict()
        for line in response.split("\r\n"):
            if line.startswith("STAT "):
                _, key, value = line.split(" ")
                data[key] = value
        data["available"] = int(data["limit_maxbytes"]) - int(data["bytes"])
        return data

    def check(self):
        self._parse_config()
        self.request = b"stats\r\n"
        return bool(self._get_data())
