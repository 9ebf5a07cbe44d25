from datakit_framework import DataKitFramework


class Feeds(DataKitFramework):
    name = 'Feeds'
    interval = 3600

    def __init__(self, **kwargs):
        super().__init__(ip='127.0.0.1', port=9529)

    def run(self):
        fields = {'a': 1}
        self.feed_metric(input='feeds', measurement='m', tags={'t': 'v'}, fields=fields, k='x')
        assert fields == {'a': 1}
        self.feed_logging(source='s', message='hi there', status='error', extra=True)
        self.feed_logging(source='s', tags={'t': 'v'}, message='no status')
        tags = {'t': 'v'}
        self.feed_object(cls='c', name='n', tags=tags, fields={'a': 1.5})
        assert tags == {'t': 'v'}
