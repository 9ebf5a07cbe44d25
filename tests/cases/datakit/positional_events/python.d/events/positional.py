from datakit_framework import DataKitFramework


class Positional(DataKitFramework):
    name = 'Positional'
    interval = 3600

    def run(self):
        self.feed_user_event('u', {'a': 'b'}, 10, 'info', 'e', 't', 'm', x=1)
        self.feed_monitor_event('{"host":"web01"}', {'a': 'b'}, 10, 'warning', 'e', 't', 'm')
        self.feed_system_event(None, 10, 'ok', 'e', 't', 'm')
