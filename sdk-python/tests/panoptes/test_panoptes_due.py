"""When runs are due, and the threads that do them."""

import threading

import pytest
from panoptes_support import LIMIT, until

from pythond.dialects.panoptes.due import Schedule
from pythond.dialects.panoptes.runs import Runs


def taken(schedule, now):
    keys = []
    while True:
        one = schedule.take(now)
        if one is None:
            return keys
        keys.append(one.key)
        schedule.done(one, now)


def test_resources_that_come_together_are_spread_over_the_first_minute_the_first_one_at_once():
    schedule = Schedule(300)
    assert schedule.add(["a", "b", "c"], 1000.0) == {"a": 1000.0, "b": 1020.0, "c": 1040.0}
    assert taken(schedule, 1000.0) == ["a"]
    assert schedule.next_due() == 1020.0


def test_a_short_interval_is_spread_over_itself():
    assert Schedule(10).add(["a", "b"], 0.0) == {"a": 0.0, "b": 5.0}


def test_the_grid_stays_however_long_a_run_takes():
    schedule = Schedule(60)
    schedule.add(["a"], 0.0)
    one = schedule.take(1.0)
    assert one.late == 1.0
    schedule.done(one, 130.0)
    assert schedule.next_due() == 180.0


def test_what_is_due_for_longer_comes_first():
    schedule = Schedule(60)
    schedule.add(["a", "b", "c"], 0.0)
    assert taken(schedule, 50.0) == ["a", "b", "c"]
    assert [one.key for one in schedule.waiting(105.0)] == ["a", "b", "c"]


def test_one_that_runs_is_not_taken_again():
    schedule = Schedule(10)
    schedule.add(["a"], 0.0)
    one = schedule.take(0.0)
    assert schedule.take(100.0) is None
    schedule.done(one, 100.0)
    assert schedule.next_due() == 110.0


def test_one_that_is_dropped_while_it_runs_does_not_come_back():
    schedule = Schedule(10)
    schedule.add(["a"], 0.0)
    one = schedule.take(0.0)
    schedule.remove(["a"])
    schedule.done(one, 1.0)
    assert schedule.take(100.0) is None


def test_one_that_comes_back_while_it_runs_starts_anew():
    schedule = Schedule(10)
    schedule.add(["a"], 0.0)
    one = schedule.take(0.0)
    schedule.remove(["a"])
    schedule.add(["a"], 5.0)
    schedule.done(one, 6.0)
    assert schedule.next_due() == 5.0


def test_after_a_restart_what_was_missed_is_due_at_once_and_late():
    schedule = Schedule(60)
    # Their grids: a at 0, 60, 120; b at 30, 90. The unit ran until 100 and is back at 125.
    schedule.resume({"a": 0.0, "b": 30.0}, 100.0, 125.0)
    one = schedule.take(125.0)
    assert (one.key, one.late) == ("a", 5.0)
    schedule.done(one, 125.0)
    assert schedule.next_due() == 150.0


def test_all_now_leaves_the_grids_as_they_are():
    schedule = Schedule(60)
    schedule.add(["a", "b"], 0.0)
    schedule.all_now(7.0)
    assert sorted(taken(schedule, 7.0)) == ["a", "b"]
    assert schedule.next_due() == 30.0


def test_one_that_is_held_is_due_on_its_grid_after_that():
    schedule = Schedule(60)
    schedule.add(["a"], 0.0)
    schedule.hold("a", 150.0)
    assert schedule.next_due() == 180.0


def test_thousands_are_taken_in_order_and_soon():
    schedule = Schedule(60)
    schedule.add([str(number) for number in range(5000)], 0.0)
    for second in range(120):
        keys = taken(schedule, float(second))
        assert len(keys) in (1, 83, 84)
    assert len(schedule) == 5000


# --- threads ---


class Plugin:
    """Work that waits until it is let go, one event for each key."""

    def __init__(self, keys=(), every=1000.0, concurrency=16, limit=1250.0, grace=5.0, clock=None):
        """Keys are due at once; `clock` is a list with the time, which `advance` moves."""
        self.schedule = Schedule(every)
        self.clock = clock
        self.lock = threading.Lock()
        self.go = {key: threading.Event() for key in keys}
        self.now_running = []
        self.most = 0
        self.begun = []
        self.done = []
        self.shown = []
        self.left = None
        self.replaced = threading.Event()
        self.runs = Runs(
            self.schedule,
            self.work,
            lambda now: now + 1000,
            self.replace,
            concurrency=concurrency,
            limit=limit,
            grace=grace,
            show=lambda run: self.shown.append(run.due.key),
            **({} if clock is None else {"clock": lambda: clock[0]}),
        )
        with self.runs.changed:
            self.schedule.add(list(keys), self.runs._clock())
            self.schedule.all_now(self.runs._clock())

    def work(self, key):
        with self.lock:
            self.now_running.append(key)
            self.begun.append(key)
            self.most = max(self.most, len(self.now_running))
            assert self.now_running.count(key) == 1
        assert self.go[key].wait(LIMIT)
        with self.lock:
            self.now_running.remove(key)
            self.done.append(key)

    def replace(self, left):
        self.left = sorted(run.due.key for run in left)
        self.replaced.set()

    def advance(self, seconds):
        with self.runs.changed:
            self.clock[0] += seconds
            self.runs.changed.notify_all()

    def let(self, *keys):
        for key in keys or self.go:
            self.go[key].set()


def test_no_more_run_at_once_than_may_and_all_get_their_turn():
    plugin = Plugin([str(number) for number in range(40)], concurrency=4)
    plugin.runs.start()
    until(lambda: len(plugin.now_running) == 4)
    plugin.let()
    plugin.runs.wait_for(float("inf"))
    assert (plugin.most, len(plugin.done)) == (4, 40)


def test_what_is_due_runs_in_order():
    plugin = Plugin([str(number) for number in range(40)], concurrency=1)
    plugin.let()
    plugin.runs.start()
    plugin.runs.wait_for(float("inf"))
    assert plugin.begun == sorted(plugin.begun, key=int)


def test_one_resource_runs_once_at_a_time_however_often_it_is_due():
    plugin = Plugin(["a"], every=0.01)
    plugin.runs.start()
    until(lambda: plugin.now_running)
    for _ in range(20):
        plugin.runs.all_now()
    plugin.let()
    until(lambda: len(plugin.done) > 3)
    plugin.runs.stop()
    assert plugin.most == 1


def one_hangs_beside_another():
    """A run that is over its limit, another that is not, and a third resource that is due."""
    plugin = Plugin(["hang"], limit=1250.0, concurrency=2, clock=[0.0])
    plugin.runs.start()
    until(lambda: plugin.now_running == ["hang"])
    plugin.go.update(slow=threading.Event(), third=threading.Event())
    plugin.advance(1000.0)
    with plugin.runs.changed:
        plugin.schedule.resume({"slow": 900.0, "third": 950.0}, 0.0, 1000.0)
        plugin.runs.changed.notify_all()
    until(lambda: plugin.now_running == ["hang", "slow"])
    plugin.advance(250.0)
    until(lambda: plugin.shown == ["hang"])
    return plugin


def test_a_run_that_is_too_long_is_shown_and_the_others_end_before_the_process_is_replaced():
    plugin = one_hangs_beside_another()
    assert not plugin.replaced.is_set()
    plugin.let("slow")
    assert plugin.replaced.wait(LIMIT)
    # The third one was due, and no run began any more.
    assert (plugin.begun, plugin.left, plugin.runs.drained_since) == (["hang", "slow"], ["hang"], 1250.0)
    plugin.let()


def test_the_others_do_not_get_more_than_their_grace():
    plugin = one_hangs_beside_another()
    plugin.advance(4.9)
    assert not plugin.replaced.wait(0.05)
    plugin.advance(0.2)
    assert plugin.replaced.wait(LIMIT)
    assert plugin.left == ["hang", "slow"]
    plugin.let()


def test_a_run_that_ends_after_all_goes_on():
    plugin = one_hangs_beside_another()
    # The one that hung first: where it were the last, the process would go.
    plugin.let("hang")
    until(lambda: not plugin.runs.hung)
    plugin.let()
    until(lambda: len(plugin.done) == 3)
    assert not plugin.replaced.is_set()


def test_a_stop_waits_for_what_runs_and_begins_nothing():
    plugin = Plugin(["a", "b"], concurrency=1)
    plugin.runs.start()
    until(lambda: plugin.now_running == ["a"])
    stopping = threading.Thread(target=plugin.runs.stop)
    stopping.start()
    until(lambda: plugin.runs._stopping)
    plugin.let()
    stopping.join(LIMIT)
    assert plugin.done == ["a"]


def test_lateness_is_known_for_what_waits_and_for_what_takes_too_long():
    plugin = Plugin(["a", "b"], concurrency=1)
    plugin.runs.start()
    until(lambda: plugin.now_running)
    began = plugin.runs._clock()
    plugin.runs._clock = lambda: began + 5.0
    late, by = plugin.runs.waiting()
    assert late == 1
    assert by == pytest.approx(5.0, abs=0.5)
    plugin.runs._clock = lambda: began + 1001.0
    assert plugin.runs.waiting()[0] == 2
    plugin.let()
