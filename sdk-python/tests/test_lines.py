"""Frames as lines over a stream, as on systems without SEQPACKET sockets."""

import json
import socket

import pytest
from test_worker import script as write_script

from pythond import control
from support import Worker

STREAM = socket.SOCK_STREAM


def test_a_worker_serves_over_a_stream_as_over_datagrams(tmp_path, agent):
    path = write_script(tmp_path, "self.feed_metric(measurement='m', fields={'a': 1})")
    with Worker(path, agent=agent, control=STREAM) as worker:
        assert worker.frame()["t"] == "hello"
        assert [worker.until("end")["k"] for _ in range(3)] == [1, 2, 3]
        worker.send(t="stop", grace_ms=5000)
        frames = worker.rest()
        assert frames[-1]["reason"] == "stop"
        assert worker.status() == 0
    assert agent.requests[0].headers["X-Pythond-Worker"] == "the-token"


def test_a_stop_right_behind_the_spec_is_heard(tmp_path):
    with Worker(write_script(tmp_path, "pass", interval=1000), control=STREAM) as worker:
        worker.send(t="stop", grace_ms=5000)
        assert worker.rest()[-1]["reason"] == "stop"
        assert worker.status() == 0


def test_the_end_of_the_stream_ends_the_worker(tmp_path):
    with Worker(write_script(tmp_path, "pass", interval=1000), control=STREAM) as worker:
        worker.until("end")
        worker.control.shutdown(socket.SHUT_RDWR)
        assert worker.status() == 0


def test_a_script_that_cannot_be_loaded_says_so_over_a_stream(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("def (:\n")
    with Worker(path, mode="check", control=STREAM) as worker:
        assert worker.until("fatal")["code"] == "PD0201"
        assert worker.rest()[-1]["t"] == "bye"


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, STREAM)
    channel = control.Channel(theirs.detach())
    yield ours, channel
    ours.close()
    channel._socket.close()


def test_frames_that_come_together_are_told_apart_and_those_that_come_in_parts_are_joined(pair):
    ours, channel = pair
    long = {"t": "run_now", "text": "é" * 20_000}
    ours.sendall(b'{"t":"stop"}\n{"t":"run_now","i":1}\n')
    assert [channel.receive(), channel.receive()] == [{"t": "stop"}, {"t": "run_now", "i": 1}]
    data = json.dumps(long).encode() + b"\n"
    ours.sendall(data[:7])
    assert channel._socket.recv(100, socket.MSG_PEEK) == data[:7]
    ours.sendall(data[7:])
    assert channel.receive() == long
    ours.sendall(b'[]\n{"t":"stop"}\n')
    with pytest.raises(ValueError):
        channel.receive()
    assert channel.receive() == {"t": "stop"}
    ours.sendall(b'{"t":')
    ours.close()
    with pytest.raises(control.Closed):
        channel.receive()


def test_a_line_without_an_end_ends_the_conversation(pair):
    ours, channel = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * control.MAX_FRAME)
    ours.sendall(b"x" * (control.MAX_FRAME + 1))
    with pytest.raises(control.Closed):
        channel.receive()


def test_while_nobody_reads_whole_frames_are_dropped_and_none_is_torn(pair):
    ours, channel = pair
    sent = 0
    while channel.send("warn", text="x" * 10_000):
        sent += 1
    assert not channel.send("warn", text="y") and channel.dropped == 2
    lines = ours.makefile("rb")
    first = [json.loads(lines.readline()) for _ in range(sent - 1)]
    # The last one that was taken may have gone out in part: its rest goes before the next.
    assert channel.send("bye", reason="stop")
    rest = [json.loads(lines.readline()) for _ in range(2)]
    lines.close()
    assert [frame["n"] for frame in first + rest] == [*range(1, sent + 1), sent + 3]
    assert rest[-1] == {"t": "bye", "reason": "stop", "n": sent + 3}
