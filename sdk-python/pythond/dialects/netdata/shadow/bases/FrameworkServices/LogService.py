"""Modules that read what is new in a log file."""

from __future__ import annotations

import glob
import os
from typing import Any

from bases.FrameworkServices.SimpleService import SimpleService

__all__ = ("LogService",)

# Reads without news, after which a pattern is looked at again.
_PATIENCE = 60


class LogService(SimpleService):
    """Gives the new lines of `log_path`, which may be a pattern; of several files the last by name."""

    def __init__(self, configuration: dict[str, Any], name: Any = None) -> None:
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.log_path: Any = self.configuration.get("path") or self.configuration.get("log_path")
        self.__pattern: Any = self.log_path
        self.__found: Any = None
        self._last_position = 0
        self.__inode = 0
        self.__idle = 0

    def check(self) -> Any:
        """Says whether there is a file that can be read."""
        if not self.log_path:
            self.error("No path to log specified")
            return None
        if self.log_path != self.__found:
            # Set by the module since; otherwise it is what was found of the pattern.
            self.__pattern = self.log_path
        found = self._find_recent_log_file()
        if found is None or not os.path.isfile(found) or not os.access(found, os.R_OK):
            self.error(f"Cannot access {self.log_path}")
            return False
        self.log_path = self.__found = found
        return True

    def create(self) -> Any:
        """Makes the charts and goes to the end of the file."""
        created = SimpleService.create(self)
        state = os.stat(self.log_path)
        self._last_position, self.__inode = state.st_size, state.st_ino
        return created

    def _find_recent_log_file(self) -> str | None:
        """Returns the last file of the pattern by name, None without."""
        if os.path.isfile(self.__pattern):
            return str(self.__pattern)
        return max(glob.glob(self.__pattern), default=None)

    def _get_raw_data(self) -> Any:
        """Returns the new lines, `[]` without news, None where the file cannot be read."""
        try:
            state = self.__state()
            if state.st_ino == self.__inode and state.st_size == self._last_position:
                self.__idle += 1
                return []
            if state.st_ino != self.__inode or state.st_size < self._last_position:
                self._last_position = 0
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                file.seek(self._last_position)
                lines = file.readlines()
                self._last_position = file.tell()
        except (OSError, TypeError) as error:
            self.error(str(error))
            return None
        self.__inode = state.st_ino
        self.__idle = 0
        return lines

    def __state(self) -> os.stat_result:
        """Looks at the file; at the pattern again where it is gone or has been idle for long. Raises `OSError`."""
        try:
            state = os.stat(self.log_path)
            if self.__idle < _PATIENCE and state.st_ino == self.__inode:
                return state
        except OSError:
            # Gone: the pattern may have another, and what comes is new, although it may get the same inode.
            self.__inode = 0
        self.__idle = 0
        if self.__pattern is not None and (self.log_path == self.__found or self.__found is None):
            found = self._find_recent_log_file()
            if found is not None and found != self.log_path:
                self.log_path = self.__found = found
                self._last_position = self.__inode = 0
        return os.stat(self.log_path)
