import os
import socket
import threading
import time

import pytest

from pythond import client
from support import FarEnd, answer, read_request


def post(agent, seconds=0.0, body=b"[]"):
    return agent.post("/v1/write/metric", "application/json", body, time.monotonic() + seconds)


def never_wait(pauses):
    def wait(seconds):
        pauses.append(seconds)
        return False

    return wait


def test_the_request_carries_token_type_and_length():
    with FarEnd([answer()]) as far:
        assert post(client.Agent(far.address, "abc")).status == 200
    assert far.requests == [
        b"POST /v1/write/metric HTTP/1.1\r\nHost: localhost\r\nX-Pythond-Worker: abc\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
    ]


def test_a_connection_is_kept_for_the_next_report():
    with FarEnd([answer(), answer(), answer()]) as far:
        agent = client.Agent(far.address)
        assert [post(agent).status for _ in range(3)] == [200, 200, 200]


def test_a_kept_connection_that_the_peer_closed_is_opened_again():
    with FarEnd([answer()], [answer(400, b"no")]) as far:
        agent = client.Agent(far.address)
        assert post(agent).status == 200
        again = post(agent)
    assert (again.status, again.text) == (400, "no")
    assert len(far.requests) == 2


def test_each_thread_has_a_connection_of_its_own():
    with FarEnd([answer()], [answer()]) as far:
        agent = client.Agent(far.address)
        replies = [post(agent).status]
        thread = threading.Thread(target=lambda: replies.append(post(agent).status))
        thread.start()
        thread.join()
    assert replies == [200, 200]


def test_a_forked_child_does_not_speak_on_its_parents_connection():
    with FarEnd([answer()], [answer()]) as far:
        agent = client.Agent(far.address)
        post(agent)
        kept = agent._connection()
        agent._local.__dict__["pid"] = os.getpid() + 1
        assert agent._connection() is not kept
        kept.close()
        assert post(agent).status == 200


def test_503_is_tried_again_after_the_time_asked_for():
    pauses = []
    with FarEnd([answer(503, b"", "Retry-After: 3"), answer()]) as far:
        reply = post(client.Agent(far.address, wait=never_wait(pauses)), seconds=10)
    assert reply.status == 200
    assert pauses == [3.0]


def test_429_without_a_time_is_tried_again_with_growing_pauses():
    pauses = []
    with FarEnd([answer(429), answer(429), answer(429), answer()]) as far:
        assert post(client.Agent(far.address, wait=never_wait(pauses)), seconds=10).status == 200
    assert pauses == [0.1, 0.2, 0.4]


def test_a_time_asked_for_behind_the_deadline_is_not_waited_for():
    with FarEnd([answer(503, b"full", "Retry-After: 30")]) as far:
        reply = post(client.Agent(far.address, wait=never_wait([])), seconds=10)
    assert (reply.status, reply.text) == (503, "full")


def test_a_stop_leaves_one_last_try():
    with FarEnd([answer(503), answer(503)]) as far:
        assert post(client.Agent(far.address, wait=lambda seconds: True), seconds=1000).status == 503
    assert len(far.requests) == 2


@pytest.mark.parametrize("status", [400, 404, 413, 500])
def test_other_answers_are_final(status):
    with FarEnd([answer(status, b"why")]) as far:
        reply = post(client.Agent(far.address), seconds=10)
    assert (reply.status, reply.text) == (status, "why")


def test_silence_ends_after_the_timeout_with_a_reason():
    with FarEnd([None]) as far:
        reply = post(client.Agent(far.address, timeout=0.2))
    assert reply.status == 0
    assert "no answer in time" in reply.text


def test_silence_on_a_local_socket_ends_after_the_timeout(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        reply = post(client.Agent(path, timeout=0.2))
    assert (reply.status, "no answer in time" in reply.text) == (0, True), reply.text


def test_a_dribbling_answer_does_not_stretch_the_timeout():
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def dribble():
        peer, _ = listener.accept()
        with peer:
            read_request(peer)
            while not over.wait(0.02):
                try:
                    peer.sendall(b"X")
                except OSError:
                    return

    thread = threading.Thread(target=dribble, daemon=True)
    thread.start()
    started = time.monotonic()
    assert post(client.Agent(listener.getsockname(), timeout=0.3)).status == 0
    assert time.monotonic() - started < 20
    over.set()
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX",
        b"\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_http_is_a_failure_with_a_reason(garbage):
    with FarEnd([garbage]) as far:
        reply = post(client.Agent(far.address))
    assert reply.status == 0
    assert "no HTTP" in reply.text


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
    ],
)
def test_half_an_answer_is_no_success_and_is_tried_again(half):
    with FarEnd([half], [answer(200, b"whole")]) as far:
        reply = post(client.Agent(far.address, wait=never_wait([])), seconds=10)
    assert (reply.status, reply.text) == (200, "whole")


def test_chunked_answers_and_those_that_end_with_the_connection_are_read():
    chunked = (
        b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    )
    with FarEnd([chunked, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\n\r\nuntil the end"]) as far:
        agent = client.Agent(far.address)
        assert post(agent).text == "abcde"
        reply = post(agent)
    assert (reply.status, reply.text) == (404, "until the end")


def test_a_refusal_before_the_body_is_read_is_still_understood():
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse():
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(answer(413, b"too large", "Connection: close"))
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    reply = post(client.Agent(listener.getsockname()), body=b"x" * 5_000_000)
    thread.join()
    listener.close()
    assert (reply.status, reply.text) == (413, "too large")


def test_an_agent_that_is_not_there_is_named():
    reply = post(client.Agent("/nowhere/at/all.sock"))
    assert reply.status == 0
    assert "/nowhere/at/all.sock" in reply.text


def test_an_agent_that_comes_back_gets_the_report(tmp_path):
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)

    def come_back(seconds):
        if listener.fileno() >= 0 and not os.path.exists(path):
            listener.bind(path)
            listener.listen()
            thread.start()
        return False

    def serve():
        peer, _ = listener.accept()
        with peer:
            read_request(peer)
            peer.sendall(answer())

    thread = threading.Thread(target=serve, daemon=True)
    assert post(client.Agent(path, wait=come_back), seconds=10).status == 200
    thread.join()
    listener.close()
