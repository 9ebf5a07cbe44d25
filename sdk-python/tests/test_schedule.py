from pythond.schedule import joined_due, next_due, place_in_turn, second_due


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


def test_the_second_run_is_moved_by_the_phase_but_not_squeezed():
    cases = [
        # start, every, phase, now → due
        (100.0, 10.0, 0.0, 101.0, 110.0),
        (100.0, 10.0, 0.7, 101.0, 107.0),
        (100.0, 10.0, 0.2, 101.0, 112.0),
        (100.0, 10.0, 0.99, 100.1, 109.9),
        (100.0, 3600.0, 0.5, 101.0, 3705.0),
        (100.0, 1.0, 0.5, 105.2, 106.5),
    ]
    for start, every, phase, now, due in cases:
        assert abs(second_due(start, every, phase, now) - due) < 1e-6, (start, every, phase, now)


def test_scripts_started_together_do_not_run_in_step():
    dues = sorted(second_due(0.0, 10.0, number / 100, 0.1) % 10.0 for number in range(100))
    gaps = [after - before for before, after in zip(dues, dues[1:])]
    assert max(gaps) < 0.2


def test_jobs_of_one_process_run_in_turn_whenever_they_came():
    came = [0.3 + 0.013 * number for number in range(200)]
    dues = [joined_due(place_in_turn(number, 1.0), 1.0, 0.0, now) for number, now in enumerate(came)]
    assert all(0.5 <= due - now <= 1.5 for due, now in zip(dues, came)), "no run is squeezed, none is left out"
    places = [due % 1.0 for due in dues]
    assert places == sorted(places) and places[-1] < 0.1
    assert len(set(places)) == len(places), "not all at one moment"


def test_the_last_of_very_many_jobs_still_has_its_place_within_half_an_interval():
    assert all(0 <= place_in_turn(number, 0.02) < 0.01 for number in range(10_000))
