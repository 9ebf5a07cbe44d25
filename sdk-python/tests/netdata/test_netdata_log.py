"""`LogService` with real files."""

import os

import pytest

from bases.FrameworkServices import LogService as module
from bases.FrameworkServices.LogService import LogService


class Service(LogService):
    def _get_data(self):
        lines = self._get_raw_data()
        return {"lines": len(lines)} if lines else None


@pytest.fixture
def log(make, tmp_path):
    """A service at the end of a file with one line, and the file."""
    path = tmp_path / "a.log"
    path.write_text("old\n")
    one = make(Service, path=str(path))
    assert one.check() is True
    one.create()
    return one, path


def add(path, text, mode="ab"):
    with open(path, mode) as file:
        file.write(text)


def test_only_new_lines_come(log):
    one, path = log
    assert one._get_raw_data() == []
    add(path, b"a\nb\xff\n")
    assert one._get_raw_data() == ["a\n", "b\ufffd\n"]
    add(path, b"half")
    assert one._get_raw_data() == ["half"]
    add(path, b" done\n")
    assert one._get_raw_data() == [" done\n"]
    assert one._get_raw_data() == []


def test_a_file_that_was_cut_is_read_from_its_start(log):
    one, path = log
    add(path, b"x\n", "wb")
    assert one._get_raw_data() == ["x\n"]


def test_a_file_that_was_replaced_is_read_from_its_start_at_once(log):
    one, path = log
    os.rename(path, str(path) + ".1")
    add(path, b"longer than before\n")
    assert one._get_raw_data() == ["longer than before\n"]


def test_a_file_that_is_gone_is_an_error_until_it_is_back(log, capfd):
    one, path = log
    path.unlink()
    assert one._get_raw_data() is None
    assert "No such file" in capfd.readouterr().err
    add(path, b"back\n")
    assert one._get_raw_data() == ["back\n"]


def test_of_several_files_the_last_by_name_is_read(make, tmp_path):
    for name in ("a.1", "a.10", "a.2"):
        (tmp_path / name).write_text("x\n")
    one = make(Service, path=str(tmp_path / "a.*"))
    assert one.check() is True and one.log_path == str(tmp_path / "a.2")
    one.create()
    (tmp_path / "a.3").write_text("new\n")
    assert one._get_raw_data() == []
    (tmp_path / "a.2").unlink()
    assert one._get_raw_data() == ["new\n"], "looked for anew when it is gone"
    assert one.check() is True


def test_a_pattern_is_looked_at_again_after_a_long_silence(make, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 3)
    (tmp_path / "a.1").write_text("x\n")
    one = make(Service, path=str(tmp_path / "a.*"))
    one.check()
    one.create()
    (tmp_path / "a.2").write_text("new\n")
    assert [one._get_raw_data() for _ in range(4)] == [[], [], [], ["new\n"]]


def test_what_cannot_be_read_is_named(make, tmp_path, capfd):
    assert make(Service).check() is None
    assert make(Service, path=str(tmp_path / "none")).check() is False
    assert make(Service, path=str(tmp_path)).check() is False
    assert make(Service, path=str(tmp_path / "no*")).check() is False
    said = capfd.readouterr().err
    assert "No path to log specified" in said and f"Cannot access {tmp_path}/none" in said


def test_the_key_of_the_tutorial_is_read_too(make, tmp_path):
    (tmp_path / "x").write_text("")
    assert make(Service, log_path=str(tmp_path / "x")).check() is True


def test_a_module_may_set_the_path_itself(make, tmp_path):
    (tmp_path / "x").write_text("")
    one = make(Service)
    one.log_path = str(tmp_path / "?")
    assert one.check() is True and one.log_path == str(tmp_path / "x")
