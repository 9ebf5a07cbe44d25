from pythond.schedule import next_due


def test_the_grid_does_not_drift():
    assert next_due(100.0, 10.0, 100.3) == 110.0
    assert next_due(100.0, 10.0, 119.9) == 120.0


def test_missed_cycles_are_skipped_never_doubled():
    assert next_due(100.0, 10.0, 137.0) == 140.0


def test_a_run_that_ends_on_the_grid_waits_for_the_next_point():
    assert next_due(100.0, 10.0, 110.0) == 120.0


def test_before_the_start_the_start_is_due():
    assert next_due(100.0, 10.0, 99.0) == 100.0


def test_the_next_point_is_never_now_or_past():
    for every in (0.1, 0.3, 1 / 3, 7.7):
        now = 1e6
        for _ in range(1000):
            due = next_due(1e6, every, now)
            assert now < due <= now + every * 1.001
            now = due
