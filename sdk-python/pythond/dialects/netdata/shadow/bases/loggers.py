"""The messages of modules, one line each for the log: `ERROR memcached[tcp] : text`."""

from __future__ import annotations

import sys
import traceback
from typing import Any, NoReturn

__all__ = ("BaseLogger", "PythonDLimitedLogger", "PythonDLogger")


class PythonDLogger:
    """What every `Service` can say. Objects are joined with a blank by `str`; nothing is formatted."""

    # With a traceback behind `error` and `alert` in an `except` block; for all modules at once.
    _LOG_TRACEBACK = True
    # Shown for those who ask for it: a module may say much.
    _LOG_DEBUG = False
    # The last thing that went wrong, for whoever asks why a check found nothing.
    _pythond_last_error = ""

    module_name: Any = "python.d"
    job_name: Any = "main"

    @property
    def log_traceback(self) -> bool:
        return PythonDLogger._LOG_TRACEBACK

    @log_traceback.setter
    def log_traceback(self, value: bool) -> None:
        PythonDLogger._LOG_TRACEBACK = value

    @property
    def logger(self) -> Any:
        """Who says it: this, unless a module has set one of its own, which the methods here do not use."""
        return self.__dict__.get("logger", self)

    @logger.setter
    def logger(self, value: Any) -> None:
        self.__dict__["logger"] = value

    def debug(self, *msg: Any) -> None:
        if PythonDLogger._LOG_DEBUG:
            self.__log("DEBUG", msg)

    def info(self, *msg: Any) -> None:
        self.__log("INFO", msg)

    def warning(self, *msg: Any) -> None:
        self.__log("WARNING", msg)

    def error(self, *msg: Any) -> None:
        self._pythond_last_error = " ".join(map(str, msg))
        self.__log("ERROR", msg, self.__traceback())

    def alert(self, *msg: Any) -> None:
        self._pythond_last_error = " ".join(map(str, msg))
        self.__log("CRITICAL", msg, self.__traceback())

    def fatal(self, *msg: Any) -> NoReturn:
        """Says it and raises `SystemExit`."""
        self._pythond_last_error = " ".join(map(str, msg))
        self.__log("CRITICAL", msg)
        sys.exit(1)

    def __traceback(self) -> str:
        if not PythonDLogger._LOG_TRACEBACK or sys.exc_info()[0] is None:
            return ""
        return traceback.format_exc()

    def __log(self, level: str, msg: tuple[Any, ...], trace: str = "") -> None:
        head = f"{level} {self.module_name}[{self.job_name}] : "
        lines = [*" ".join(map(str, msg)).split("\n"), *trace.splitlines()]
        sys.stderr.write("".join(f"{head}{line}\n" for line in lines if line or len(lines) == 1))


class PythonDLimitedLogger(PythonDLogger):
    """The same: the limit on what a module may say is the agent's."""


BaseLogger = PythonDLogger
