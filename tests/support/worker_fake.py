"""Stands in the place of the Python package and speaks the frames as the name of the script's folder says."""

import json
import os
import socket
import time

control = socket.socket(fileno=int(os.environ["PYTHOND_CONTROL_FD"]))
control.settimeout(None)
number = 0


def send(kind, **fields):
    global number
    number += 1
    control.send(json.dumps({"t": kind, "n": number, **fields}).encode())


def hello():
    send("hello", v=1, pid=os.getpid(), py="3.99.0", exe="", sdk="9.9.9")


def run(times):
    send("jobs", set=[{"i": 0, "u": 0, "key": "Fake", "title": "", "every": 0.1, "line": 1, "next_ms": 0}], gone=[])
    send("ready")
    for k in range(1, times + 1):
        send("run", i=0, k=k)
        send("end", i=0, k=k, ms=1.0, ok=True, reports=1, points=1, refused=0, next_ms=100)


def nothing():
    time.sleep(1e6)


def never_ready():
    hello()
    time.sleep(1e6)


def garbage():
    hello()
    for data in (b"\xff\xfe", b"{", b"[1]", b"null", b'{"t":7}', b'{"t":"end","i":"x"}', b"x" * 65536):
        control.send(data)
    run(3)
    control.send(b'{"t":"run","i":99,"k":1}')
    control.send(b'{"t":"end","i":99,"k":1,"ms":-1,"ok":true,"next_ms":18446744073709551615}')
    control.recv(65536)


def other_version():
    send("greeting", v=2)
    hello()
    send("news", text="of a later version")
    run(1)
    control.recv(65536)


def leaves():
    hello()
    send("ready")
    send("bye", reason="done")


def asked():
    """Waits for a question for resources; returns what an answer repeats."""
    while True:
        frame = json.loads(control.recv(65536))
        if frame["t"] == "resources":
            return {"u": frame["u"], "ask": frame["ask"]}


def loses_a_piece():
    hello()
    run(1)
    question = asked()
    send("resources", **question, k=0, columns=["A"], rows=[["a"]], last=False)
    send("resources", **question, k=2, rows=[["c"]], last=True)
    control.recv(65536)


def has_no_end():
    hello()
    run(1)
    send("resources", **asked(), k=0, columns=["A"], rows=[["a"], ["b"]], last=False)
    control.recv(65536)


def dies_when_asked():
    hello()
    run(1)
    asked()
    os._exit(3)


def says_nothing():
    hello()
    run(1)
    asked()
    control.recv(65536)


def answers_twice():
    hello()
    run(1)
    question = asked()
    send("resources", u=question["u"], ask=question["ask"] + 1, k=0, columns=["A"], rows=[["other"]], last=True)
    send("resources", u=7, ask=question["ask"], k=0, columns=["A"], rows=[["other"]], last=True)
    send("resources", **question, k=0, columns=["A"], rows=[["a"]], last=True)
    send("resources", **question, k=0, columns=["A"], rows=[["again"]], last=True)
    control.recv(65536)


mode = os.path.basename(os.path.dirname(json.loads(control.recv(65536))["file"]))
globals()[mode]()
