"""The python interface to collectd"""

from pythond.dialects.collectd.classes import CollectdError, Config, Notification, Signed, Unsigned, Values
from pythond.dialects.collectd.functions import (
    debug,
    error,
    flush,
    get_dataset,
    info,
    notice,
    register_config,
    register_flush,
    register_init,
    register_log,
    register_notification,
    register_read,
    register_shutdown,
    register_write,
    unregister_config,
    unregister_flush,
    unregister_init,
    unregister_log,
    unregister_notification,
    unregister_read,
    unregister_shutdown,
    unregister_write,
    warning,
)

__all__ = [
    "DS_TYPE_ABSOLUTE",
    "DS_TYPE_COUNTER",
    "DS_TYPE_DERIVE",
    "DS_TYPE_GAUGE",
    "LOG_DEBUG",
    "LOG_ERROR",
    "LOG_INFO",
    "LOG_NOTICE",
    "LOG_WARNING",
    "NOTIF_FAILURE",
    "NOTIF_OKAY",
    "NOTIF_WARNING",
    "CollectdError",
    "Config",
    "Notification",
    "Signed",
    "Unsigned",
    "Values",
    "debug",
    "error",
    "flush",
    "get_dataset",
    "info",
    "notice",
    "register_config",
    "register_flush",
    "register_init",
    "register_log",
    "register_notification",
    "register_read",
    "register_shutdown",
    "register_write",
    "unregister_config",
    "unregister_flush",
    "unregister_init",
    "unregister_log",
    "unregister_notification",
    "unregister_read",
    "unregister_shutdown",
    "unregister_write",
    "warning",
]
LOG_DEBUG = 7
LOG_INFO = 6
LOG_NOTICE = 5
LOG_WARNING = 4
LOG_ERROR = 3
NOTIF_FAILURE = 1
NOTIF_WARNING = 2
NOTIF_OKAY = 4
DS_TYPE_COUNTER = "counter"
DS_TYPE_GAUGE = "gauge"
DS_TYPE_DERIVE = "derive"
DS_TYPE_ABSOLUTE = "absolute"


def __dir__() -> "list[str]":
    # The original is no file: it has no `__file__`, and nothing but what plugins are meant to use.
    own = ("__all__", "__builtins__", "__cached__", "__dir__", "__file__")
    return sorted(name for name in globals() if name not in own)
