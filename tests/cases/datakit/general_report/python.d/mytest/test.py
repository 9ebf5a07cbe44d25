#encoding: utf-8

from datakit_framework import DataKitFramework


class Test(DataKitFramework):
    name = 'Test'
    interval = 10  # seconds

    # if your datakit ip is 127.0.0.1 and port is 9529, you won't need use this,
    # just comment it.
    # def __init__(self, **kwargs):
    #     super().__init__(ip = '127.0.0.1', port = 9529)

    def run(self):
        print("Test")
        data = [
            {
                "measurement": "abc",
                "tags": {"t1": "b", "t2": "d"},
                "fields": {"f1": 123, "f2": 3.4, "f3": "strval"},
                "time": 1624550216,  # you don't have to give a time
            },
            {
                "measurement": "def",
                "tags": {"t1": "b", "t2": "d"},
                "fields": {"f1": 123, "f2": 3.4, "f3": "strval"},
            },
        ]

        in_data = {
            'M': data,  # 'M' for metric, 'L' for logging, 'R' for rum, 'O' for object, 'CO' for custom object, 'E' for event
            'input': "datakitpy",
        }

        return self.report(in_data)
