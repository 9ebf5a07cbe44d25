"""A module in the manner of netdata's tutorial: charts of a weather station, one job for each station.

To enable it, add to a file in `conf.d`:

    [[inputs.netdata]]
    name = "weather"
    dirs = ["examples/weather"]

By hand: `pythond run python.d/examples/weather/weather_station.chart.py`. The stations are made up; `measure` is where
a module would ask a real one.
"""

import math
import random
import time

from bases.FrameworkServices.SimpleService import SimpleService

update_every = 5
priority = 90000

ORDER = ["temp_current", "temp_stats", "humid_current", "rain"]

CHARTS = {
    "temp_current": {
        "options": [None, "Temperature", "Celsius", "TEMP", "weather_station.temperature", "line"],
        "lines": [["current_temperature", "current"]],
    },
    "temp_stats": {
        "options": [None, "Temperature so far", "Celsius", "TEMP", "weather_station.temperature_stats", "line"],
        "lines": [["min_temperature", "min"], ["max_temperature", "max"], ["avg_temperature", "avg"]],
    },
    "humid_current": {
        "options": [None, "Humidity", "%", "HUMIDITY", "weather_station.humidity", "line"],
        "lines": [["current_humidity", "current"]],
    },
    "rain": {
        "options": [None, "Rain", "mm/s", "RAIN", "weather_station.rain", "area"],
        # The station counts drops; a hundred of them are a millimetre.
        "lines": [["drops", "rain", "incremental", 1, 100]],
    },
}


class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order = ORDER
        self.definitions = CHARTS
        self.usual = float(self.configuration.get("usual_temperature", 15))
        self.is_in_fahrenheit = self.configuration.get("type") == "fahrenheit"
        self.seen = []
        self.drops = 0

    @staticmethod
    def check():
        return True

    def measure(self):
        """Returns degrees, per cent and drops since the last time, as a station would."""
        of_day = math.sin(time.time() / 86400 * 2 * math.pi)
        celsius = self.usual + 5 * of_day + random.uniform(-0.5, 0.5)
        degrees = celsius * 9 / 5 + 32 if self.is_in_fahrenheit else celsius
        return degrees, 60 - 20 * of_day, random.randint(0, 20)

    def get_data(self):
        degrees, humidity, drops = self.measure()
        celsius = (degrees - 32) * 5 / 9 if self.is_in_fahrenheit else degrees
        self.seen = [*self.seen[-999:], celsius]
        self.drops += drops
        return {
            "current_temperature": celsius,
            "min_temperature": min(self.seen),
            "max_temperature": max(self.seen),
            "avg_temperature": sum(self.seen) / len(self.seen),
            "current_humidity": humidity,
            "drops": self.drops,
        }
