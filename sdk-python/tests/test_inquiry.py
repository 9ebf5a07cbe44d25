"""The answer to a question for resources: whole, in pieces that fit a frame, and harmless whatever a job does."""

import threading
import types

import pytest

from pythond.dialects import Job, Table
from pythond.inquiry import Inquiries, table_of
from support import Worker

LIMIT = 60.0


class Channel:
    """Keeps frames; refuses those whose numbers `lost` has, counted from 0."""

    def __init__(self, lost=()):
        self.frames = []
        self.tries = 0
        self._lost = lost
        self.over = threading.Event()

    def wait_for_room(self, seconds):
        pass

    def send(self, kind, **fields):
        assert kind == "resources"
        self.tries += 1
        if self.tries - 1 in self._lost:
            return False
        self.frames.append(fields)
        if fields["last"]:
            self.over.set()
        return True


class Told(Job):
    def __init__(self, answer):
        self._answer = answer

    def resources(self):
        return self._answer()


def asked(*answers, unit=0):
    host = types.SimpleNamespace(number=unit, is_user=lambda path: False)
    return [types.SimpleNamespace(job=Told(answer), host=host) for answer in answers]


def answered(jobs, channel=None):
    channel = channel or Channel()
    Inquiries(channel).take({"t": "resources", "u": 0, "ask": 7}, jobs)
    assert channel.over.wait(LIMIT)
    return channel.frames


def table(count):
    return Table(("A", "B"), [(str(number), "x" * 100) for number in range(count)])


def test_five_thousand_rows_come_whole_in_pieces():
    frames = answered(asked(lambda: table(5000)))
    assert len(frames) > 5
    assert [frame["k"] for frame in frames] == list(range(len(frames)))
    assert {(frame["u"], frame["ask"]) for frame in frames} == {(0, 7)}
    assert [frame["last"] for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert (frames[0]["columns"], frames[0]["why"], "columns" in frames[1]) == (["A", "B"], "", False)
    assert [row[0] for frame in frames for row in frame["rows"]] == [str(number) for number in range(5000)]


def test_a_piece_that_found_no_room_is_sent_again():
    frames = answered(asked(lambda: table(1000)), Channel(lost=(0, 2)))
    assert [frame["k"] for frame in frames] == list(range(len(frames)))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([], "it has no jobs"),
        ([lambda: None], "its collectors do not run against resources that could be listed"),
        ([lambda: Table(("A",), (), "none matches")], "none matches"),
        ([lambda: 1 / 0], "the table could not be made: ZeroDivisionError: division by zero"),
        ([lambda: exec("raise SystemExit(3)")], "the table could not be made: SystemExit: 3"),
        ([lambda: Table(("A",), [5])], "the table could not be made: TypeError: 'int' object is not iterable"),
        ([lambda: table(1), lambda: Table(("B",), [("x",)])], "its jobs have tables with other columns each"),
    ],
)
def test_why_there_is_no_table_is_said(answers, why):
    (frame,) = answered(asked(*answers))
    assert (frame["why"], frame["rows"], frame["last"]) == (why, [], True)


def test_the_rows_of_several_jobs_are_one_table_and_other_units_are_not_asked():
    jobs = [*asked(lambda: table(1), lambda: table(2)), *asked(lambda: 1 / 0, unit=1)]
    (frame,) = answered(jobs)
    assert [row[0] for row in frame["rows"]] == ["0", "0", "1"]


def test_a_cell_is_one_line_that_is_not_too_long():
    (row,) = table_of(asked(lambda: Table(("A", "B"), [("no\nroute\x1b[31m", "é" * 400)]))).rows
    assert row[0] == "no route [31m"
    assert len(row[1]) == 300 and row[1].endswith("é…")


def test_a_second_question_during_a_long_answer_is_told_so():
    go, channel = threading.Event(), Channel()
    inquiries = Inquiries(channel)
    jobs = asked(lambda: go.wait(LIMIT) and table(1))
    inquiries.take({"u": 0, "ask": 1}, jobs)
    inquiries.take({"u": 0, "ask": 2}, jobs)
    (second,) = channel.frames
    assert (second["ask"], second["why"]) == (2, "it is still busy with the answer to an earlier question")
    channel.over.clear()
    go.set()
    assert channel.over.wait(LIMIT)
    assert channel.frames[1]["ask"] == 1


def test_a_worker_answers_while_its_run_goes_on(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        "import threading\nfrom datakit_framework import DataKitFramework\n"
        "class A(DataKitFramework):\n    def run(self): threading.Event().wait()\n"
    )
    with Worker(path) as worker:
        worker.until("run")
        worker.send(t="resources", u=0, ask=3)
        frame = worker.until("resources")
        worker.send(t="resources", u=9, ask=4)
        other = worker.until("resources")
    assert (frame["u"], frame["ask"], frame["k"], frame["last"], frame["rows"]) == (0, 3, 0, True, [])
    assert frame["why"] == "its collectors do not run against resources that could be listed"
    assert (other["ask"], other["why"]) == (4, "it has no jobs")
