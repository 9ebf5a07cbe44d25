"""A `run` that is `async def`: run to its end, in one event loop for each job, cancelled at a stop."""

import asyncio
import os
import signal

import pytest

from support import Worker, frames_of

HEAD = "import asyncio, os, sys, threading, time\nfrom datakit_framework import DataKitFramework\n"
CLASS = "class A(DataKitFramework):\n    interval = 0.02\n"


def script(folder, run, before="", head="async def run(self):"):
    """Writes a script with one class whose `run` has the lines given."""
    body = "\n".join("        " + line for line in run.splitlines())
    path = folder / "script.py"
    path.write_text(f"{HEAD}{before}{CLASS}    {head}\n{body}\n")
    return path


def ends(frames):
    return [frame for frame in frames if frame["t"] == "end"]


REPORT = "await asyncio.sleep(0.001)\nself.feed_metric(measurement='later', fields={'x': 1})"


@pytest.mark.parametrize("head", ["async def run(self):", "async def go(self):", "@staticmethod\n    async def run():"])
def test_an_async_run_is_run_to_its_end(tmp_path, agent, head):
    run = REPORT.replace("self.", "A().")
    path = script(tmp_path, run, head=head)
    if "go" in head:
        path.write_text(path.read_text() + "    def run(self): return self.go()\n")
    frames, status = frames_of(path, "once", agent=agent, spec={"times": 3})
    assert [(end["ok"], end["points"]) for end in ends(frames)] == [(True, 0 if "A()" in run else 1)] * 3
    assert [point.measurement for point in agent.points] == ["later"] * 3
    assert status == 0


def test_its_reports_are_counted_for_it_and_named_by_their_line(tmp_path, agent):
    run = "await asyncio.sleep(0.001)\nself.feed_metric(measurement='later', fields={'x': 1, 'y': float('nan')})"
    frames, _ = frames_of(script(tmp_path, run), "once", agent=agent)
    assert ends(frames)[0]["points"] == 1
    warning = next(frame for frame in frames if frame["t"] == "warn")
    assert (warning["file"], warning["line"]) == (str(tmp_path / "script.py"), 7)


def test_what_it_raises_is_a_failed_run_with_its_own_frames(tmp_path):
    frames, _ = frames_of(script(tmp_path, "await asyncio.sleep(0)\nraise KeyError('cpu')"), "once")
    end = ends(frames)[0]
    assert (end["ok"], end["exc"], end["where"][0]["line"]) == (False, "KeyError", 7)


def test_the_loop_is_one_and_the_same_from_run_to_run(tmp_path, agent):
    run = (
        "loop = asyncio.get_running_loop()\n"
        "assert getattr(A, 'loop', loop) is loop\n"
        "A.loop = loop\n"
        "if not hasattr(A, 'task'):\n"
        "    A.task = asyncio.ensure_future(asyncio.sleep(0.02, 7))\n"
        "else:\n"
        "    self.feed_metric(measurement='m', fields={'x': await A.task})"
    )
    frames, _ = frames_of(script(tmp_path, run), "once", agent=agent, spec={"times": 2})
    assert [end["ok"] for end in ends(frames)] == [True, True]
    assert [point.fields for point in agent.points] == [{"x": 7}]


def test_several_async_collectors_of_one_script_have_a_loop_each(tmp_path):
    text = HEAD + "loops = {}\n"
    for name in "AB":
        text += (
            f"class {name}(DataKitFramework):\n    interval = 0.02\n    async def run(self):\n"
            f"        loops['{name}'] = asyncio.get_running_loop()\n"
            "        while len(loops) < 2: await asyncio.sleep(0.001)\n"
            "        assert loops['A'] is not loops['B']\n"
        )
    path = tmp_path / "script.py"
    path.write_text(text)
    with Worker(path) as worker:
        done = set()
        while len(done) < 2:
            end = worker.until("end")
            assert end["ok"], end
            done.add(end["i"])
        worker.send(t="stop", grace_ms=60_000)
        assert worker.rest()[-1]["reason"] == "stop"


CLEANS_UP = (
    "print('sleeps', flush=True)\n"
    "try:\n"
    "    await asyncio.sleep(3600)\n"
    "finally:\n"
    "    await asyncio.sleep(0.001)\n"
    "    print('cleaned up', flush=True)"
)


@pytest.mark.parametrize("way", ["stop", "TERM", "eof"])
def test_a_stop_cancels_it_long_before_its_grace_is_over(tmp_path, way):
    with Worker(script(tmp_path, CLEANS_UP)) as worker:
        worker.until("run")
        assert worker.process.stdout.readline() == b"sleeps\n"
        if way == "stop":
            worker.send(t="stop", grace_ms=600_000)
        elif way == "TERM":
            os.kill(worker.process.pid, signal.SIGTERM)
        else:
            worker.control.close()
        if way != "eof":
            frames = worker.rest()
            assert [end["ok"] for end in ends(frames)] == [True]
            assert frames[-1]["reason"] == "stop"
        assert worker.process.stdout.readline() == b"cleaned up\n"
        assert worker.status() == 0


def test_a_second_cancellation_leaves_what_the_first_has_it_clean_up():
    from pythond.awaiting import JobLoop

    loop, said = JobLoop(), []

    async def run():
        try:
            loop.cancel()
            await asyncio.sleep(3600)
        finally:
            loop.cancel()
            await asyncio.sleep(0.001)
            said.append("cleaned up")

    assert loop.finish(run()) is None
    assert said == ["cleaned up"]
    loop.close()


def test_one_that_is_only_replaced_may_end_by_itself(tmp_path):
    run = "print('waits', flush=True)\nwhile not os.path.exists(__file__ + '.go'): await asyncio.sleep(0.001)"
    with Worker(script(tmp_path, run + "\nprint('done', flush=True)")) as worker:
        worker.until("run")
        assert worker.process.stdout.readline() == b"waits\n"
        worker.send(t="stop", grace_ms=600_000, finish=True)
        (tmp_path / "script.py.go").touch()
        assert worker.rest()[-1]["reason"] == "stop"
        assert worker.process.stdout.readline() == b"done\n"


def test_what_a_run_leaves_behind_ends_with_the_worker(tmp_path):
    before = (
        "async def left():\n"
        "    try:\n        await asyncio.sleep(3600)\n"
        "    finally:\n        print('left', flush=True)\n"
        "async def numbers():\n"
        "    try:\n        yield 1\n"
        "    finally:\n        print('closed', flush=True)\n"
    )
    run = "A.task = asyncio.ensure_future(left())\nA.numbers = numbers()\nawait A.numbers.__anext__()"
    with Worker(script(tmp_path, run, before), "once") as worker:
        assert [end["ok"] for end in ends(worker.rest())] == [True]
        assert sorted(worker.output()[0].split()) == ["closed", "left"]


def test_a_cancellation_of_its_own_is_a_failure(tmp_path):
    run = "task = asyncio.ensure_future(asyncio.sleep(3600))\ntask.cancel()\nawait task"
    end = ends(frames_of(script(tmp_path, run), "once")[0])[0]
    assert (end["ok"], end["exc"]) == (False, "CancelledError")


def test_a_hidden_generator_is_a_failure_and_a_value_of_its_own_is_none(tmp_path):
    wrap = (
        "import functools\n"
        "def wrapped(function):\n"
        "    @functools.wraps(function)\n"
        "    def call(self): return function(self)\n"
        "    return call\n"
    )
    path = script(tmp_path, "yield 1", wrap, head="@wrapped\n    def run(self):")
    end = ends(frames_of(path, "once")[0])[0]
    assert (end["ok"], end["exc"]) == (False, "NeverRuns")
    path = script(tmp_path, "return (x for x in [1])", head="def run(self):")
    assert ends(frames_of(path, "once")[0])[0]["ok"]
