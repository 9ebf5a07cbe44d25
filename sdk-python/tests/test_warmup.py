"""What a zygote walks through before it forks: each dialect's sample is answered, and nobody is waited for."""

import subprocess
import sys

import pytest

from support import CORE, LIMIT

WALK = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from pythond import client, control, dialects, warmup
asked = []
once = client.Agent._once
def note(self, head, body):
    asked.append(once(self, head, body).status)
    return client.Reply(asked[-1], "")
client.Agent._once = note
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
warmup.run(dialects.get(sys.argv[2]), control.Channel(here.detach()), there)
print(len(asked), sorted(set(asked)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="zygotes are of Linux")
@pytest.mark.parametrize("dialect", ["datakit", "netdata", "collectd"])
def test_every_report_of_a_sample_is_answered(dialect):
    command = [sys.executable, "-c", WALK, CORE, dialect]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    count, statuses = done.stdout.split(" ", 1)
    assert int(count) >= 40 and statuses.strip() == "[200]", done.stdout
