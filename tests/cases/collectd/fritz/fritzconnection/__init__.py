"""Stands for the package: a box that never changes, and knows some of the actions."""

from fritzconnection import fritzconnection  # noqa: F401


class AuthorizationError(Exception):
    pass


_ANSWERS = {
    ("WANIPConn:1", "GetStatusInfo"): {"NewConnectionStatus": "Connected", "NewUptime": 3601},
    ("WANIPConnection:1", "GetStatusInfo"): {"NewConnectionStatus": "Connected", "NewUptime": 3601},
    ("WANCommonIFC:1", "GetCommonLinkProperties"): {
        "NewPhysicalLinkStatus": "Up",
        "NewLayer1DownstreamMaxBitRate": 100000000,
        "NewLayer1UpstreamMaxBitRate": 40000000,
    },
    ("WANCommonIFC:1", "GetAddonInfos"): {
        "NewByteSendRate": 1234,
        "NewByteReceiveRate": 54321,
        "NewTotalBytesSent": 4294967290,
        "NewTotalBytesReceived": 17,
    },
    ("LANEthernetInterfaceConfig:1", "GetStatistics"): {"NewBytesSent": 2**53 + 1, "NewBytesReceived": 0},
}
_DEVICES = [
    {
        "NewIndex": 0,
        "NewMultimeterPower": 4711,
        "NewMultimeterEnergy": 1500,
        "NewTemperatureCelsius": 225,
        "NewSwitchState": "ON",
    },
    {
        "NewIndex": 1,
        "NewMultimeterPower": 0,
        "NewMultimeterEnergy": 1,
        "NewTemperatureCelsius": -5,
        "NewSwitchState": "OFF",
    },
]
_HOME = ("X_AVM-DE_Homeauto:1", "GetGenericDeviceInfos")


class FritzConnection:
    def __init__(self, address, port, user, password):
        assert (address, port) == ("fritz.box", 49000)
        self.modelname = "Box"
        self.services = dict.fromkeys(service for service, _ in _ANSWERS)
        self.actionnames = [*_ANSWERS, _HOME]

    def call_action(self, service, action, **given):
        if (service, action) == _HOME:
            return dict(_DEVICES[given["NewIndex"]]) if given["NewIndex"] < len(_DEVICES) else {}
        return dict(_ANSWERS[service, action])
