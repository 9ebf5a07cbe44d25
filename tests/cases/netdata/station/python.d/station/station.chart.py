# A module of the shape that netdata's tutorial teaches: a static check, a dictionary as class attribute, module globals
# in capitals and in small letters, a dimension list of one element, options as a plain list.
from bases.FrameworkServices.SimpleService import SimpleService

NETDATA_UPDATE_EVERY=1
priority = 90000

ORDER = [
    "now"
]

CHARTS = {
    "now": {
        "options": ["my_now", "Temperature", "Celsius", "TEMP", "station.temperature", "line"],
        "lines": [
            ["degrees"]
        ]
     }
}

class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order = ORDER
        self.definitions = CHARTS
        self.values=dict()

    @staticmethod
    def check():
        return True

    measured=dict()

    def logMe(self,msg):
        self.debug(msg)

    def measure(self):
        self.measured["degrees"]=42

    def get_data(self):
        data = dict()
        self.measure()
        data['degrees'] = self.measured["degrees"]
        return data
