"""Delivers what runs have handed in: of a process with several jobs, all that came together in one request.

    a run ends → its `Parcel` waits a moment for others → one request → one answer, with what became of each
               → one frame that tells all these runs

The thread of the job is back at its rest meanwhile; its next run begins when this parcel is settled. A parcel that
the agent could not take is tried again until its job is due, and at least once, as any report. A run that does not
take long is told when it has ended only; one that does is told while it lasts, so that the agent sees it hang.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque

from pythond import client, rows
from pythond.bell import Bell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pythond.jobs import Channel, Process, Scheduled

    class Agent(Protocol):
        """Where requests go; `client.Agent` is it."""

        def request(self, method: str, path: str, content_type: str, body: bytes, deadline: float) -> client.Reply: ...
        def rest(self) -> None: ...


# What came is sent once nothing more has come for so long, or after the second time at the latest.
_STEP = 0.01
_LONGEST_GATHERING = 0.05
# The connection is closed when nothing was sent for so long.
_REST = 4.0
_OUTAGE_STEP = 0.05
_MAX_BODY = 1 << 20
# Runs in one frame.
_MAX_RUNS = 500


class Parcel:
    """An ended run: what it handed in, what is to be told of it, and when its job is due again."""

    __slots__ = ("counts", "deadline", "due", "next_try", "number", "one", "outcome", "texts", "tries")

    def __init__(
        self, one: Scheduled, texts: list[str], outcome: dict[str, Any], counts: dict[str, int], due: float
    ) -> None:
        """`texts` are rows as `rows.texts` makes them."""
        self.one = one
        self.number = one.runs
        self.texts = texts
        self.outcome = outcome
        self.counts = counts
        self.due = due
        self.deadline = one.tally.deadline
        self.tries = 0
        self.next_try = 0.0

    def body(self) -> str:
        return rows.body_of(self.one.key, self.one.every, self.texts)


class Courier:
    """One thread for all jobs of a process."""

    def __init__(self, channel: Channel, agent: Agent, process: Process, stopping: threading.Event) -> None:
        self._channel = channel
        self._agent = agent
        self._process = process
        self._stopping = stopping
        self._come: deque[Parcel] = deque()
        self._pending: list[Parcel] = []
        self._wake = Bell()
        self._is_awake = False
        self._is_closing = False
        self._shortest = 1.0
        self._thread = threading.Thread(target=self._run, name="pythond courier", daemon=True)
        self._thread.start()

    # --- from the threads of jobs ---

    def take(self, parcel: Parcel) -> None:
        """Takes what is left of a run; `parcel.one.parcel` is None again when that is settled."""
        parcel.one.parcel = parcel
        if parcel.one.every < self._shortest:
            self._shortest = parcel.one.every
        self._come.append(parcel)
        self._rouse()

    def close(self) -> None:
        """Delivers what is there and ends."""
        self._is_closing = True
        self._wake.ring()
        while self._thread.is_alive():
            self._thread.join(_REST)

    def _rouse(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._wake.ring()

    # --- its own thread ---

    def _run(self) -> None:
        while self._sleep():
            if not self._stopping.is_set():
                self._gather()
            try:
                self._deliver()
            except Exception:
                # A defect must not keep the jobs from their next runs.
                sys.stderr.write(f"reports were not delivered:\n{traceback.format_exc()}")
                for parcel in self._pending:
                    _release(parcel)
                self._pending = []

    def _sleep(self) -> bool:
        """Waits for something to do; says whether there can be more."""
        rest: float | None = _REST
        while not (self._come or self._pending):
            if self._is_closing:
                return False
            self._is_awake = False
            # Whoever came before that has not rung.
            if not (self._come or self._is_closing):
                self._wake.wait(_REST * 900 if rest is None else rest)
                if rest is not None and not self._come:
                    self._agent.rest()
                    rest = None
            self._is_awake = True
        return True

    def _gather(self) -> None:
        """Waits for more as long as more come, a small part of the shortest interval at most."""
        step = min(_STEP, self._shortest / 20)
        until = time.monotonic() + min(_LONGEST_GATHERING, self._shortest / 10)
        there = -1
        while len(self._come) != there and time.monotonic() < until and not self._is_closing:
            there = len(self._come)
            time.sleep(step)

    def _deliver(self) -> None:
        while self._come:
            self._pending.append(self._come.popleft())
        if not self._pending:
            return
        self._process.settle()
        self._process.report_files()
        now = time.monotonic()
        settled = []
        ready: list[Parcel] = []
        for parcel in self._pending:
            if not parcel.texts:
                settled.append(parcel)
            elif parcel.next_try <= now or self._stopping.is_set():
                ready.append(parcel)
        if ready:
            settled += self._send(ready)
        self._tell(settled)
        if not settled and not self._come:
            # The agent is away, or full.
            self._wake.wait(_OUTAGE_STEP)

    def _send(self, parcels: list[Parcel]) -> list[Parcel]:
        """Tries to send; returns those for which it is settled what became of them."""
        is_last_try = self._stopping.is_set()
        settled = []
        for batch in _batches([(parcel, parcel.body()) for parcel in parcels]):
            for (parcel, _), reply in zip(batch, self._exchange(batch)):
                if reply.is_worth_retrying and not is_last_try:
                    pause = client.pause_before_retry(parcel.tries, reply.retry_after)
                    parcel.tries += 1
                    parcel.next_try = time.monotonic() + pause
                    if parcel.next_try <= parcel.deadline:
                        continue
                settled.append(parcel)
                parcel.one.host.account(parcel.one.job, reply, len(parcel.texts), parcel.counts)
        return settled

    def _exchange(self, batch: list[tuple[Parcel, str]]) -> list[client.Reply]:
        """Sends one request; returns an answer for each of its parcels."""
        groups = ",".join(f'["{parcel.one.host.token}",{body}]' for parcel, body in batch)
        body = f'{{"groups":[{groups}]}}'.encode("ascii")
        reply = self._agent.request("POST", rows.PATH_OF_SEVERAL, "application/json", body, 0.0)
        if reply.status == 200:
            found = rows.answers_of(reply.text)
            if len(found) == len(batch):
                return found
            reply = client.Reply(0, "the agent's answer cannot be read")
        if reply.is_worth_retrying or len(batch) == 1:
            return [reply] * len(batch)
        # Together they are too much; each of them may be fine.
        return [answer for one in batch for answer in self._exchange([one])]

    def _tell(self, settled: list[Parcel]) -> None:
        """Tells the runs, and lets their jobs go on."""
        now = time.monotonic()
        well = []
        for parcel in settled:
            outcome, counts = parcel.outcome, parcel.counts
            next_ms = max(1, round((parcel.due - now) * 1000)) if parcel.due > now else 0
            if outcome["ok"]:
                number = (parcel.one.index, parcel.number)
                well.append((*number, outcome["ms"], counts["points"], counts["refused"], counts["no_value"], next_ms))
                continue
            self._channel.send("end", i=parcel.one.index, k=parcel.number, **outcome, **counts, next_ms=next_ms)
        for begin in range(0, len(well), _MAX_RUNS):
            self._channel.send("ran", runs=well[begin : begin + _MAX_RUNS])
        over = set(map(id, settled))
        self._pending = [parcel for parcel in self._pending if id(parcel) not in over]
        for parcel in settled:
            _release(parcel)


def _release(parcel: Parcel) -> None:
    one = parcel.one
    one.parcel = None
    if one.is_awaited:
        one.wake.ring()


def _batches(parcels: list[tuple[Parcel, str]]) -> list[list[tuple[Parcel, str]]]:
    """Cuts parcels into requests that no agent refuses for their size, one parcel at least in each."""
    batches: list[list[tuple[Parcel, str]]] = []
    room = 0
    for parcel, body in parcels:
        if not batches or len(body) > room:
            batches.append([])
            room = _MAX_BODY
        batches[-1].append((parcel, body))
        room -= len(body)
    return batches
