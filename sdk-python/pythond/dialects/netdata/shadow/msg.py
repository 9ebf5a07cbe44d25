"""The messages of modules from before 2017, as functions."""

from __future__ import annotations

from bases.loggers import PythonDLogger

DEBUG_FLAG = False
PROGRAM = "python.d"

_logger = PythonDLogger()

debug = _logger.debug
info = _logger.info
error = _logger.error
fatal = _logger.fatal
