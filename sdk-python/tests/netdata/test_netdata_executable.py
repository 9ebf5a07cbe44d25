"""`ExecutableService` with real programs."""

import os
import sys

import pytest

from bases.FrameworkServices import ExecutableService as module
from bases.FrameworkServices.ExecutableService import ExecutableService


class Service(ExecutableService):
    def _get_data(self):
        lines = self._get_raw_data()
        return {"lines": lines} if lines else None


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (None, "Command is not defined or command type is not <str>"),
        (5, "Command is not defined or command type is not <str>"),
        (["ls"], "Command is not defined or command type is not <str>"),
        ("nobody -x", 'Can\'t locate "nobody -x" binary'),
        ("l|s", 'Can\'t locate "l|s" binary'),
        ("/nobody", '"/nobody" is not executable'),
        ("/etc/passwd", '"/etc/passwd" is not executable'),
        ("ls a | wc", "Bad command argument(s): {'|'}"),
    ],
)
def test_a_command_that_cannot_run_is_named(make, capfd, command, text):
    assert make(Service, command=command).check() is False
    assert f"ERROR module[local] : {text}" in capfd.readouterr().err


def test_a_command_is_split_at_blanks_and_found(make):
    one = make(Service, command='echo "a b"')
    assert one.check() is True
    assert one.command[1:] == ['"a', 'b"'] and os.path.isabs(one.command[0])
    assert one._get_raw_data() == ['"a b"\n']
    assert one.check() is True, "a second check finds it split"


def test_the_configuration_wins_over_the_module(make):
    one = make(Service, command="echo conf")
    one.command = "echo module"
    assert one.check() is True and one._get_raw_data() == ["conf\n"]
    two = make(Service)
    two.command = "echo module"
    assert two.check() is True and two._get_raw_data() == ["module\n"]
    assert two.check() is True


@pytest.mark.parametrize("command", ["", None])
def test_an_empty_command_in_the_configuration_is_none(make, capfd, command):
    one = make(Service, command=command)
    one.command = "echo module"
    assert one.check() is False
    assert "Command is not defined" in capfd.readouterr().err


def test_lines_come_with_their_ends_and_errors_go_to_the_log(make, capfd):
    one = make(Service)
    script = ["sh", "-c", "echo a; echo bad >&2; printf '\\377\\n'; printf c; exit 3"]
    assert one._get_raw_data(command=script) == ["a\n", "c"]
    assert "WARNING module[local] : bad" in capfd.readouterr().err
    assert one._get_raw_data(command=script) == ["a\n", "c"]
    assert capfd.readouterr().err == "", "the same is said once"
    assert one._get_raw_data(stderr=True, command=script) == ["bad\n"]
    assert one._get_raw_data(command=["true"]) == []


def test_a_program_that_does_not_start_is_none(make, capfd):
    assert make(Service)._get_raw_data(command=["/nobody"]) is None
    assert "resulted in error" in capfd.readouterr().err


def test_a_program_may_say_much_on_both_pipes(make):
    text = "import sys; sys.stderr.write('e' * 200000); sys.stdout.write('o' * 200000)"
    one = make(Service)
    assert one._get_raw_data(command=[sys.executable, "-c", text]) == ["o" * 200000]


def test_a_program_that_does_not_end_is_ended_with_what_it_started(make, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(module, "_LEAST_LIMIT", 0.2)
    pid_file = tmp_path / "pid"
    one = make(Service, update_every=0.1)
    assert one._get_raw_data(command=["sh", "-c", f"sleep 100 & echo $! > {pid_file}; wait"]) is None
    assert "did not end within 0.2 s" in capfd.readouterr().err
    pid = int(pid_file.read_text())
    with pytest.raises(OSError):
        for _ in range(1000):
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] in "ZX":
                    raise ProcessLookupError


def test_a_command_without_data_is_named(make, capfd):
    assert make(Service, command="true").check() is False
    assert "returned no data" in capfd.readouterr().err


def test_get_data_that_raises_in_check_is_named(make, capfd):
    cls = type("Service", (ExecutableService,), {"_get_data": lambda self: {}["x"]})
    assert make(cls, command="true").check() is False
    assert "_get_data() failed. Command: [" in capfd.readouterr().err
