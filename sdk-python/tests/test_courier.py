"""What runs hand in: gathered, sent in one request, tried again, and told with the runs."""

import json
import threading

import pytest

from pythond import dialects, guard, sources
from pythond.client import Reply
from pythond.courier import Courier, Parcel
from pythond.host import UnitHost
from pythond.jobs import Scheduled
from support import LIMIT, Worker

TAKEN = {"accepted": 1, "no_value": 0, "resets": 0}
FULL = {"status": 503, "answer": {"error_code": "pythond.bufferFull", "message": "full"}, "retry_after": 0}
BAD = {
    "status": 400,
    "answer": {"error_code": "pythond.invalidRows", "message": "no", "accepted": 0, "refused_count": 1},
    "repaired": '[{"code":"PD0501","kind":"k","key":"tags.x","what":"x became y"}]',
}


class Agent:
    """Answers each request when it is told how."""

    token = "of-the-worker"

    def __init__(self):
        self.requests = []
        self._answers = []
        self._changed = threading.Condition()

    def request(self, method, path, content_type, body, deadline):
        assert (method, path) == ("POST", "/v1/rows/several")
        with self._changed:
            self.requests.append(json.loads(body)["groups"])
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._answers, LIMIT)
            return self._answers.pop(0)

    def answer(self, *entries, status=200):
        with self._changed:
            text = json.dumps({"groups": entries}) if status == 200 else '{"message": "no"}'
            self._answers.append(Reply(status, text))
            self._changed.notify_all()

    def asked(self, count):
        """Waits until so many requests have come, and returns the keys of the jobs in the last."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, LIMIT)
            return [body["job"] for _, body in self.requests[-1]]

    def rest(self):
        pass


class Frames:
    """Keeps frames; with it as process nothing is to be put right."""

    def __init__(self):
        self.sent = []

    def send(self, kind, **fields):
        self.sent.append({"t": kind, **fields})
        return True

    def wait_for_room(self, seconds):
        pass

    def settle(self):
        pass

    def report_files(self):
        pass

    def of(self, kind):
        return [frame for frame in self.sent if frame["t"] == kind]


class Lab:
    def __init__(self):
        self.agent, self.frames, self.stopping = Agent(), Frames(), threading.Event()
        self.courier = Courier(self.frames, self.agent, self.frames, self.stopping)
        self.made = 0

    def job(self, key, every=10.0):
        files = sources.Sources(guard.user_files("/x.py", []), None)
        unit = dialects.Unit(f"in.{key}", "/x.py", "x", [], {}, "in", files)
        agent = Agent()
        agent.token = f"of-{key}"
        job = dialects.Job()
        job.key, job.every = key, every
        one = Scheduled(self.made, job, UnitHost(unit, agent, self.frames, number=self.made))
        self.made += 1
        return one

    def run(self, one, texts=('{"m":"m"}',), deadline=0.0, **outcome):
        one.runs += 1
        one.tally.deadline = deadline
        counts = one.tally.take()
        self.courier.take(Parcel(one, list(texts), {"ms": 1.5, "ok": True, **outcome}, counts, 0.0))

    def ran(self):
        return [run for frame in self.frames.of("ran") for run in frame["runs"]]


@pytest.fixture
def lab():
    return Lab()


def test_what_came_during_a_request_goes_with_the_next_and_is_told_in_one_frame(lab):
    jobs = [lab.job(key) for key in "abcd"]
    lab.run(jobs[0])
    assert lab.agent.asked(1) == ["a"]
    assert lab.agent.requests[0] == [["of-a", {"job": "a", "interval": 10.0, "rows": [{"m": "m"}]}]]
    for one in jobs[1:]:
        lab.run(one)
    lab.agent.answer(TAKEN)
    assert lab.agent.asked(2) == ["b", "c", "d"]
    assert lab.ran() == [(0, 1, 1.5, 1, 0, 0, 0)]
    lab.agent.answer(TAKEN, {**TAKEN, "accepted": 0, "no_value": 3}, TAKEN)
    lab.courier.close()
    runs = lab.frames.of("ran")[1]["runs"]
    assert runs == [(1, 1, 1.5, 1, 0, 0, 0), (2, 1, 1.5, 0, 0, 3, 0), (3, 1, 1.5, 1, 0, 0, 0)]
    assert len(lab.frames.sent) == 2, "short runs are told once"


def test_nothing_is_told_and_no_next_run_begins_before_the_agent_has_answered(lab):
    one = lab.job("a")
    one.is_awaited = True
    lab.run(one)
    lab.agent.asked(1)
    assert (one.parcel is None, lab.ran()) == (False, [])
    lab.agent.answer(TAKEN)
    one.wake.wait(LIMIT)
    assert (one.parcel, lab.ran()) == (None, [(0, 1, 1.5, 1, 0, 0, 0)])
    lab.courier.close()


def test_only_the_group_that_was_not_kept_is_tried_again_and_nobody_waits_for_it(lab):
    far = 1e12
    full, other = lab.job("full"), lab.job("other")
    lab.run(full, deadline=far)
    lab.agent.asked(1)
    lab.run(other, deadline=far)
    lab.agent.answer(FULL)
    keys = lab.agent.asked(2)
    lab.agent.answer(*(TAKEN if key == "other" else FULL for key in keys))
    assert lab.agent.asked(3) == ["full"]
    assert lab.ran() == [(1, 1, 1.5, 1, 0, 0, 0)]
    lab.agent.answer(TAKEN)
    lab.courier.close()
    assert [run[0] for run in lab.ran()] == [1, 0]


def test_what_the_agent_could_not_take_until_the_job_is_due_is_refused_and_said(lab):
    lab.run(lab.job("a"), deadline=0.0)
    lab.agent.answer(FULL)
    lab.courier.close()
    (refused,) = lab.frames.of("refused")
    assert (refused["status"], refused["points"]) == (503, 1)
    assert lab.ran() == [(0, 1, 1.5, 0, 1, 0, 0)]


def test_a_group_that_is_bad_is_said_with_its_unit_before_the_end_of_its_run(lab):
    first, bad = lab.job("first"), lab.job("bad")
    lab.run(first)
    lab.agent.asked(1)
    lab.run(bad)
    lab.agent.answer(TAKEN)
    lab.agent.asked(2)
    lab.agent.answer(BAD)
    lab.courier.close()
    kinds = [frame["t"] for frame in lab.frames.sent]
    assert kinds == ["ran", "warn", "refused", "ran"]
    assert [frame["u"] for frame in lab.frames.sent[1:3]] == [1, 1]
    assert lab.ran()[1] == (1, 1, 1.5, 0, 1, 0, 0)


def test_groups_that_are_too_much_together_are_sent_alone(lab):
    jobs = [lab.job(key) for key in "abc"]
    lab.run(jobs[0])
    lab.agent.asked(1)
    lab.run(jobs[1])
    lab.run(jobs[2])
    lab.agent.answer(TAKEN)
    assert lab.agent.asked(2) == ["b", "c"]
    lab.agent.answer(status=413)
    assert lab.agent.asked(3) == ["b"]
    lab.agent.answer(TAKEN)
    assert lab.agent.asked(4) == ["c"]
    lab.agent.answer(status=413)
    lab.courier.close()
    assert [run[3:5] for run in lab.ran()] == [(1, 0), (1, 0), (0, 1)]


def test_a_run_that_failed_is_told_whole_and_what_it_handed_in_is_sent(lab):
    lab.run(lab.job("a"), ok=False, exc="ValueError", msg="no")
    lab.agent.answer(TAKEN)
    lab.courier.close()
    (end,) = lab.frames.sent
    assert (end["t"], end["exc"], end["points"]) == ("end", "ValueError", 1)


def test_a_run_without_rows_needs_no_request(lab):
    lab.run(lab.job("a"), texts=())
    lab.courier.close()
    assert (lab.agent.requests, lab.ran()) == ([], [(0, 1, 1.5, 0, 0, 0, 0)])


def test_a_stop_delivers_what_was_handed_in_with_one_try(lab):
    lab.run(lab.job("a"), deadline=1e12)
    lab.agent.asked(1)
    lab.run(lab.job("b"), deadline=1e12)
    lab.stopping.set()
    closing = threading.Thread(target=lab.courier.close)
    closing.start()
    lab.agent.answer(status=503)
    keys = lab.agent.asked(2)
    lab.agent.answer(*(TAKEN if key == "b" else FULL for key in keys))
    closing.join(LIMIT)
    assert not closing.is_alive()
    assert {run[0]: run[3:5] for run in lab.ran()} == {0: (0, 1), 1: (1, 0)}


TWO = """
import threading
from pythond.dialects import Job
from pythond.rows import Reading, Row
hung = threading.Event()
class J(Job):
    def __init__(self, host, key):
        self.host, self.key, self.every = host, key, 0.02
    def run(self):
        if self.key == "hangs":
            hung.wait()
        self.host.hand_in(self, [Row("m", {}, [Reading("a", 1)])])
def load(unit, host):
    host.add(J(host, "hangs"))
    host.add(J(host, "goes on"))
"""


@pytest.fixture
def worker(core, tmp_path, agent):
    path = tmp_path / "unit.py"
    path.write_text(TWO)
    spec = {"dialect": "probe", "id": "in.unit", "input": "in"}
    with Worker(path, agent=agent, core=core, spec=spec) as worker:
        yield worker


def test_a_run_that_hangs_is_told_while_it_lasts_and_the_other_job_goes_on(worker, agent):
    seen = [worker.frame()]
    while not ({"t": "run", "i": 0, "k": 1}.items() <= seen[-1].items()):
        seen.append(worker.frame())
    for _ in range(3):
        end = worker.until("end")
        assert (end["i"], end["ok"], end["points"]) == (1, True, 1)
    assert {row["job"] for row in agent.rows} == {"goes on"}


def test_a_job_that_goes_is_told_to_be_gone_after_its_last_run(core, tmp_path, agent):
    path = tmp_path / "unit.py"
    path.write_text(TWO.replace("hung.wait()", "self.host.drop(self)"))
    spec = {"dialect": "probe", "id": "in.unit", "input": "in"}
    with Worker(path, agent=agent, core=core, spec=spec) as worker:
        while (frame := worker.frame())["t"] != "end" or frame["i"] != 0:
            assert not (frame["t"] == "jobs" and frame["gone"])
        assert frame["points"] == 1
        assert worker.until("jobs")["gone"] == [0]
