"""Modules that run a program."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from typing import Any

from bases.collection import find_binary
from bases.FrameworkServices.SimpleService import SimpleService

__all__ = ("ExecutableService",)

_BAD_CHARACTERS = frozenset("&|;><")
# A program may take `update_every`, but at least so many seconds.
_LEAST_LIMIT = 30.0


class ExecutableService(SimpleService):
    """Runs `command` and gives its lines."""

    def __init__(self, configuration: dict[str, Any], name: Any = None) -> None:
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.command: Any = None
        self.__split_command: Any = None
        self.__said = b""

    def check(self) -> Any:
        """Finds the program and says whether it gives data."""
        if self.command is None or self.command is not self.__split_command:
            # Also one that is empty counts, and is none.
            self.command = self.configuration.get("command", self.command)
            split = self.__checked_command()
            if split is None:
                return False
            self.command = self.__split_command = split
        try:
            data = self._get_data()
        except Exception as error:
            self.error(f"_get_data() failed. Command: {self.command}. Error: {error}")
            return False
        self._pythond_link.data = data
        if isinstance(data, dict) and data:
            return True
        self.error("Command", str(self.command), "returned no data")
        return False

    def __checked_command(self) -> list[str] | None:
        """Returns the command in its words, the program with its path."""
        if not self.command or not isinstance(self.command, str) or not self.command.split():
            self.error("Command is not defined or command type is not <str>")
            return None
        program, *arguments = self.command.split()
        bad = {char for argument in arguments for char in argument if char in _BAD_CHARACTERS}
        if bad:
            self.error(f"Bad command argument(s): {bad}")
            return None
        if "/" in program:
            if not (os.path.isfile(program) and os.access(program, os.X_OK)):
                self.error(f'"{program}" is not executable')
                return None
            return [program, *arguments]
        found = find_binary(program)
        if found is None:
            self.error(f'Can\'t locate "{self.command}" binary')
            return None
        return [found, *arguments]

    def _get_raw_data(self, stderr: bool = False, command: Any = None) -> Any:
        """Returns the lines of the program's output (`stderr`: of its errors); None where it does not start."""
        wanted = command or self.command
        try:
            process = subprocess.Popen(
                wanted,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except Exception as error:
            self.error(f"Executing command {wanted} resulted in error: {error}")
            return None
        limit = max(self.__seconds(), _LEAST_LIMIT)
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process)
            self.error(f"Command {wanted} did not end within {limit:g} s")
            return None
        except BaseException:
            _end(process)
            raise
        if not stderr:
            self.__log_errors(err)
        return _lines(err if stderr else out)

    def __seconds(self) -> float:
        every = self._runtime_counters.update_every
        return every if isinstance(every, (int, float)) else 0.0

    def __log_errors(self, err: bytes) -> None:
        """Logs what the program has to complain about, if it is something else than the last time."""
        if err.strip() and err != self.__said:
            for line in err.decode("utf-8", "replace").splitlines()[:100]:
                self.warning(line)
        self.__said = err


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program with everything that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        # It is gone already.
        pass
    process.communicate()


def _lines(data: bytes) -> list[str]:
    lines = []
    for line in io.BytesIO(data):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            continue
    return lines
