"""`datakit_framework.py` copied beside a script, without the package."""

import os
import re
import shutil
import socket
import subprocess
import sys

from conftest import SHADOW
from support import LIMIT, FarEnd, answer, read_request

SCRIPT = """
import os, sys
from datakit_framework import DataKitFramework

assert "pythond" not in sys.modules
class Alone(DataKitFramework):
    interval = {interval}

collector = Alone({receiver})
{body}
"""


def run(folder, receiver, body, interval=0.3, **env):
    """Runs a script beside a copy of the framework; returns what it printed and the text of the framework log."""
    shutil.copy(os.path.join(SHADOW, "datakit_framework.py"), str(folder))
    path = folder / "alone.py"
    path.write_text(SCRIPT.format(receiver=receiver, body=body, interval=interval))
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); import alone"],
        env={**os.environ, "HOME": str(folder), **env},
        capture_output=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr.decode()
    log = folder / "_datakit_pythond_framework__.log"
    return done.stdout.decode(), log.read_text() if log.exists() else ""


def receiver(far):
    return "ip={!r}, port={!r}".format(*far.address)


def test_a_report_goes_to_the_receiver_over_one_kept_connection(tmp_path):
    with FarEnd([answer(), answer(400, b"no")]) as far:
        out, _ = run(
            tmp_path,
            receiver(far),
            'for n in (1, 2): print(repr(collector.feed_metric(measurement="m", fields={"n": n})))',
        )
    assert out.splitlines()[0] == "''"
    assert out.splitlines()[-1] == "'no'"
    assert far.requests[1].endswith(b'[{"measurement": "m", "tags": null, "fields": {"n": 2}, "time": null}]')
    assert far.requests[1].startswith(b"POST /v1/write/metric HTTP/1.1\r\n")


def test_d26_the_log_has_the_reason_and_the_line(tmp_path):
    with FarEnd([answer(400, b"because")]) as far:
        out, log = run(tmp_path, receiver(far), 'collector.feed_metric(measurement="m", fields={"n": 1})')
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d POST http://[\d.:]+/v1/write/metric: 400 because \(.*alone.py:10 in .*\)\n",
        log,
    )
    assert "_datakit_pythond_framework__.log" in out


def test_d34_nobody_there_is_not_success_in_silence(tmp_path):
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    out, log = run(tmp_path, f"port={port}", 'print(repr(collector.feed_metric(measurement="m", fields={"n": 1})))')
    assert out.splitlines()[-1] == "''"
    assert "not sent" in log and "refused" in log


def test_d35_a_busy_receiver_is_tried_again_within_the_interval(tmp_path):
    with FarEnd([answer(503, b"", "Retry-After: 0"), answer(429, b"", "Retry-After: 0"), answer()]) as far:
        _, log = run(tmp_path, receiver(far), 'collector.feed_metric(measurement="m", fields={"n": 1})', interval=30)
    assert len(far.requests) == 3
    assert log == ""


def test_d35_a_kept_connection_that_was_closed_is_opened_again(tmp_path):
    with FarEnd([answer()], [answer()]) as far:
        _, log = run(
            tmp_path, receiver(far), 'for n in (1, 2): collector.feed_metric(measurement="m", fields={"n": n})'
        )
    assert len(far.requests) == 2
    assert log == ""


def test_d34_nan_and_the_unserialisable_are_in_the_log(tmp_path):
    with FarEnd([answer(), answer()]) as far:
        _, log = run(
            tmp_path,
            receiver(far),
            'for _ in range(2): collector.report({"M": [{"measurement": "m", "fields": {"a": float("nan"), "b": 1}},'
            '{"measurement": "n", "fields": {"o": object()}}]})',
        )
    assert far.requests[0].endswith(b'[{"measurement": "m", "fields": {"b": 1}}]')
    assert log.count("field `a` of `m` is nan, which no point can hold; the field was left out (") == 1
    assert log.count("field `o` of `n` is of type object, which no point can hold; the field was left out (") == 1
    assert log.count("point 1 (`n`) has no field left") == 2


def test_what_an_agent_elsewhere_has_changed_is_in_the_log(tmp_path):
    told = b'X-Pythond-Repaired: [{"code":"PD0412","kind":"reserved_key","key":"tags.time","what":"it became `time_`"}]'
    with FarEnd([answer(200, b"", told.decode())] * 2) as far:
        post = 'for n in (1, 2): collector.feed_metric(measurement="m", fields={"n": n})'
        _, log = run(tmp_path, receiver(far), post)
    assert log.count("it became `time_` (") == 1


def test_d39_a_unix_socket_can_be_the_receiver(tmp_path):
    path = str(tmp_path / "dk.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    import threading

    got = []

    def serve():
        peer, _ = listener.accept()
        with peer:
            got.append(read_request(peer))
            peer.sendall(answer())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    _, log = run(
        tmp_path, f'ip="unix://{path}", agent_token="secret"', 'collector.feed_metric(measurement="m", fields={"n": 1})'
    )
    thread.join(LIMIT)
    listener.close()
    assert log == ""
    assert b"\r\nAuthorization: Bearer secret\r\n" in got[0]


def test_the_log_has_a_place_without_a_writable_home(tmp_path):
    out, _ = run(tmp_path, "", 'collector.log.info("hello"); print("done")', HOME="/nonexistent")
    assert out == "done\n"


def test_d26_mylog_takes_arguments_without_a_place_in_the_text(tmp_path):
    _, log = run(
        tmp_path,
        "",
        'import datakit_framework; datakit_framework.mylog("error", 42); datakit_framework.mylog("%s!", "a");'
        'datakit_framework.mylog("100%"); collector.test()',
    )
    assert [line[20:] for line in log.splitlines()] == ["error 42", "a!", "100%", "789"]


def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path):
    out, _ = run(tmp_path, "", 'print([m for m in ("requests", "http.client", "ssl", "typing") if m in sys.modules])')
    assert out == "[]\n"
