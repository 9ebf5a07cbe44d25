"""Stands for the package: two cards that never change; the second has no fan and no meter."""

import collections

NVML_TEMPERATURE_GPU = 0
_Memory = collections.namedtuple("_Memory", "total free used")
_Rates = collections.namedtuple("_Rates", "gpu memory")


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


def nvmlInit():
    pass


def nvmlDeviceGetCount():
    return 2


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetMemoryInfo(handle):
    return _Memory(8 << 30, (8 << 30) - (handle << 20), handle << 20)


def nvmlDeviceGetPowerUsage(handle):
    return _first(handle, 43215)


def nvmlDeviceGetTemperature(handle, sensor):
    return 41 + handle + sensor


def nvmlDeviceGetFanSpeed(handle):
    return _first(handle, "30")


def nvmlDeviceGetUtilizationRates(handle):
    return _Rates(12.9, 3)


def _first(handle, value):
    if handle:
        raise NVMLError_NotSupported("no")
    return value
