# probe: what a job's settings become; the title of the chart says what the module got
from bases.FrameworkServices.SimpleService import SimpleService


class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        given = sorted(configuration.items(), key=str)
        SimpleService.__init__(self, configuration=configuration, name=name)
        # Neither quotes nor line ends, which the protocol does not have.
        title = repr((given, self.update_every, sorted(self.configuration, key=str))).replace("'", '').replace('\\n', '/')
        self.order, self.definitions = ['c'], {'c': {'options': [None, title, 'u', 'f', 'x.c', 'line'], 'lines': [['v']]}}

    def get_data(self):
        return {'v': 1}
