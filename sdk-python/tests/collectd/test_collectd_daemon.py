"""What stands behind the module: callbacks and their rules, schedule and back-off, the two ways out, the end."""

import os
import threading
import time

import pytest

import collectd
import collectd_lab as lab
from pythond.dialects.collectd import outbox, reading
from pythond.dialects.collectd.writing import WriteQueue


def gauge(plugin="p", **named):
    collectd.Values(type="gauge", plugin=plugin, values=[1], **named).dispatch()


# --- callbacks ---


def test_the_first_read_callback_of_a_name_stays_and_the_last_of_others():
    with lab.daemon_of() as daemon:
        first, second = lambda: None, lambda: None
        assert collectd.register_read(first) == collectd.register_read(second) == "python.test_collectd_daemon"
        (job,) = daemon.host.jobs
        assert job.callback.call is first
        for kind in ("write", "log", "notification", "flush"):
            register = getattr(collectd, f"register_{kind}")
            register(first, name="a")
            register(first, name="b")
            register(second, name="a")
            assert [one.call for one in daemon.registry.all(kind)] == [second, first]
        for kind in ("config", "init", "shutdown"):
            register = getattr(collectd, f"register_{kind}")
            register(first, name="a")
            register(second, name="a")
            assert [one.call for one in daemon.registry.all(kind)] == [second, first]


def test_data_is_given_only_where_it_was():
    seen = []
    with lab.daemon_of() as daemon:
        collectd.register_init(lambda *given: seen.append(given), name="a")
        collectd.register_init(lambda *given: seen.append(given), None, name="b")
        collectd.register_init(lambda *given: seen.append(given), data=5, name="c")
        daemon.initialize()
    assert seen == [(5,), (None,), ()]


def test_flush_calls_the_callbacks_of_one_whole_name_or_all():
    seen = []
    with lab.daemon_of():
        for name in ("a", "b"):
            collectd.register_flush(
                lambda timeout, identifier, name: seen.append((name, timeout, identifier)), name, name
            )
        collectd.flush("a")
        assert seen == []
        collectd.flush("python.a", 5, "id")
        collectd.flush()
    assert seen == [("a", 5, "id"), ("a", -1, None), ("b", -1, None)]


def test_a_log_callback_that_logs_comes_to_an_end(capsys):
    seen = []

    def log(severity, message):
        seen.append((severity, message))
        collectd.info("again")
        raise ValueError("never told to itself")

    with lab.daemon_of():
        collectd.register_log(log)
        collectd.debug("once")
    assert seen == [(collectd.LOG_DEBUG, "once")]
    err = capsys.readouterr().err
    assert "DEBUG test_collectd_daemon : once" in err and "ValueError: never told to itself" in err


def test_an_exception_is_logged_in_the_originals_words_with_its_trace(capsys):
    with lab.daemon_of() as daemon:
        collectd.register_shutdown(lambda: 1 / 0)
        daemon.close()
    lines = lab.log_lines(capsys.readouterr().err)
    assert "[error] Unhandled python exception in shutdown callback: ZeroDivisionError: division by zero" in lines
    assert any("test_collectd_daemon.py" in line for line in lines) and not any(
        'daemon.py", line' in line.replace("test_collectd_daemon.py", "") for line in lines
    )


def test_an_unknown_type_is_told_with_the_nearest():
    with lab.daemon_of() as daemon:
        with pytest.raises(TypeError, match="Dataset tempratur not found"):
            collectd.Values(type="tempratur")
        ((code, text, _, _),) = daemon.host.warnings
    assert (
        code == "PD0807"
        and text.startswith("type `tempratur` is in no types.db (read: ")
        and "`temperature` is" in text
    )


def test_a_dispatch_without_a_type_is_an_exception():
    with lab.daemon_of(), pytest.raises(RuntimeError, match="type not set"):
        collectd.Values(values=[1]).dispatch(host="h")


def test_write_without_a_destination_goes_to_all():
    seen = []
    with lab.daemon_of() as daemon:
        collectd.register_write(lambda values, name: seen.append((name, values.time, values.interval)), "a", "a")
        collectd.register_write(lambda values, name: seen.append((name, values.time, values.interval)), "b", "b")
        collectd.Values(type="gauge", plugin="p", values=[1]).write(interval=3)
        daemon.close()
        assert [row.time_ns for row in daemon.host.rows] == [None]
    assert seen == [("a", 0.0, 3), ("b", 0.0, 3)]


def test_write_leaves_out_meta_that_is_no_dict_and_knows_no_empty_name(capsys):
    seen = []
    with lab.daemon_of():
        collectd.register_write(lambda values: seen.append(values.meta), name="a")
        values = collectd.Values(type="gauge", plugin="p", values=[1])
        values.write("PYTHON.A", meta=5)
        with pytest.raises(RuntimeError, match="error dispatching values, read the logs"):
            values.write("")
    assert seen == [{}]
    assert "building meta data: TypeError: meta must be a dict" in capsys.readouterr().err


def test_functions_stay_functions_as_attributes_of_a_class(capsys):
    class Plugin:
        log = collectd.info
        types = collectd.get_dataset

    with lab.daemon_of():
        Plugin().log("told by a class")
        assert Plugin().types("gauge")[0][:2] == ("value", "gauge")
    assert "told by a class" in capsys.readouterr().err


@pytest.mark.parametrize("interval", [float("inf"), float("nan"), -1, 0, 1e12, 1e-12])
def test_what_cannot_be_an_interval_is_as_none(tmp_path, interval):
    with lab.daemon_of("Interval 7\n", tmp_path) as daemon:
        collectd.register_read(lambda: gauge(interval=interval), interval, name="odd")
        (job,) = daemon.host.jobs
        assert job.every == 7
        job.run()
        (row,) = daemon.host.rows
        assert row.interval == 7


def test_a_log_callback_gets_bytes_where_a_message_is_no_utf_8_and_no_more_than_fits():
    seen = []
    with lab.daemon_of():
        collectd.register_log(lambda severity, message: seen.append(message))
        collectd.info(b"\xff")
        with pytest.raises(RuntimeError):
            collectd.unregister_read("python." + "y" * 500)
        collectd.error("é" * 600)
    assert seen[0] == b"\xff"
    assert seen[1].startswith("plugin_unregister_read: No such read function: python.yy")
    assert seen[2] == ("é" * 512).encode()[:1023]


def test_a_statement_that_cannot_be_obeyed_is_told_by_its_own_spelling(tmp_path):
    (tmp_path / "a.py").write_text("import collectd\ncollectd.register_read(lambda: None)\n")
    (tmp_path / "collectd.conf").write_text(
        f"""LoadPlugin python
<Plugin python>
  ModulePath "{tmp_path}"
  Import "a"
  modulePath "a" 1
  LOGTRACES 1
  interactive "x" "y"
  encoding 5
  fooBar 1
</Plugin>
"""
    )
    told = [one for one in lab.run_in_process(tmp_path / "collectd.conf").log if one.startswith("[error]")]
    assert told == [
        "[error] python plugin: The `modulePath' option requires exactly one string argument.",
        "[error] python plugin: The `LOGTRACES' option requires exactly one boolean argument.",
        "[error] python plugin: The `interactive' option requires exactly one boolean argument.",
        "[error] python plugin: The `encoding' option requires exactly one string argument.",
        '[error] python plugin: Unknown config key "fooBar".',
    ]


def test_a_value_that_is_too_old_is_told_until_the_series_is_forgotten(monkeypatch, capsys):
    now = [1_000_000_000]
    with lab.daemon_of(interval=1) as daemon:
        monkeypatch.setattr(time, "time_ns", lambda: now[0] * 10**9)
        told = []
        for at in (100, 90, 80, 70, 75, 70):
            gauge(time=at)
            told.append("Value too old: name = machine/p/gauge; value time" in capsys.readouterr().err)
            now[0] += 1
        daemon.close()
        assert len(daemon.host.rows) == 6
    assert told == [False, True, True, False, False, True]


# --- schedule ---


def test_the_interval_doubles_up_to_the_most_and_comes_back(tmp_path, capsys):
    fails = [True]

    def read():
        if fails[0]:
            raise RuntimeError("boom")

    with lab.daemon_of("MaxReadInterval 3\n", tmp_path) as daemon:
        collectd.register_read(read, 0.5, name="fail")
        (job,) = daemon.host.jobs
        every = []
        for _ in range(5):
            with pytest.raises(RuntimeError):
                job.run()
            every.append((job.every, job.doubled))
        fails[0] = False
        assert job.run() is None
    assert every == [(1.0, 1), (2.0, 2), (3.0, 3), (3.0, 4), (3.0, 5)]
    assert (job.every, job.doubled) == (0.5, 0)
    told = [line for line in lab.log_lines(capsys.readouterr().err) if "Will suspend" in line]
    assert told[1] == "[notice] read-function of plugin `python.fail' failed. Will suspend it for 2.000 seconds."


@pytest.mark.parametrize("given, every", [((), 4.0), ((0,), 4.0), ((-5,), 4.0), ((2.5,), 2.5)])
def test_the_interval_of_a_callback(given, every, tmp_path):
    with lab.daemon_of("Interval 7\n<LoadPlugin python>\n  Interval 4\n</LoadPlugin>\n", tmp_path) as daemon:
        collectd.register_read(lambda: None, *given)
        assert daemon.host.jobs[0].every == every


def test_exit_and_interrupt_are_failures():
    with lab.daemon_of() as daemon:
        for error in (SystemExit, KeyboardInterrupt):

            def read(error=error):
                raise error

            collectd.register_read(read, name=error.__name__)
            with pytest.raises(error):
                daemon.host.jobs[-1].run()
            assert daemon.host.jobs[-1].doubled == 1


def test_a_slow_read_is_told(monkeypatch, capsys):
    moments = iter([100.0, 101.3])
    with lab.daemon_of() as daemon:
        collectd.register_read(lambda: None, 0.5, name="slow")
        monkeypatch.setattr(reading.time, "monotonic", lambda: next(moments))
        daemon.host.jobs[0].run()
    text = "plugin_read_thread: read-function of the `python.slow' plugin took 1.300 seconds, which is above its"
    assert f"{text} read interval (0.500 seconds)." in capsys.readouterr().err


def test_a_removed_callback_runs_no_more_and_one_may_come_at_any_time():
    with lab.daemon_of() as daemon:
        collectd.register_read(lambda: pytest.fail("it was removed"), name="gone")
        (job,) = daemon.host.jobs
        daemon.initialize()
        collectd.unregister_read("python.gone")
        job.run()
        assert daemon.host.jobs == []
        collectd.register_read(lambda: None, name="late")
        assert [job.key for job in daemon.host.jobs] == ["python.late"]


def test_the_interval_of_a_value_is_that_of_its_context():
    with lab.daemon_of() as daemon:
        seen = []
        collectd.register_write(lambda values: seen.append((values.plugin, values.interval)))
        collectd.register_init(lambda: gauge("init"))
        collectd.register_read(lambda: (gauge("read"), gauge("own", interval=2), gauge("negative", interval=-1)), 5)
        daemon.initialize()
        daemon.host.jobs[0].run()
        daemon.close()
    assert sorted(seen) == [("init", 10.0), ("negative", 5.0), ("own", 2.0), ("read", 5.0)]


def test_flush_interval_is_a_job(tmp_path):
    seen = []
    conf = "<LoadPlugin python>\n  FlushInterval 30\n  FlushTimeout 5\n</LoadPlugin>\n"
    with lab.daemon_of(conf, tmp_path) as daemon:
        collectd.register_flush(lambda *given: seen.append(given), name="f")
        (job,) = daemon.host.jobs
        assert (job.key, job.every) == ("flush/python.f", 30.0)
        job.run()
    assert seen == [(5, None)]


# --- the way to the agent ---


def test_a_run_sends_once_and_for_its_job():
    with lab.daemon_of() as daemon:
        collectd.register_read(lambda: [gauge(type_instance=str(number)) for number in range(2500)])
        (job,) = daemon.host.jobs
        job.run()
        assert daemon.host.sent == [(job, 1000), (job, 1000), (job, 500)]


def test_values_of_a_thread_are_sent_soon(monkeypatch):
    monkeypatch.setattr(outbox, "AGE", 0.01)
    with lab.daemon_of() as daemon:
        thread = threading.Thread(target=gauge)
        thread.start()
        thread.join()
        until = time.monotonic() + lab.LIMIT
        while not daemon.host.rows and time.monotonic() < until:
            time.sleep(0.01)
        assert daemon.host.sent == [(None, 1)]
        daemon.close()


def test_what_the_agent_cannot_take_is_sent_again_in_order(monkeypatch):
    monkeypatch.setattr(outbox, "AGE", 0.01)
    with lab.daemon_of() as daemon:
        daemon.host.answers = [503, 0, 429]
        collectd.register_read(lambda: [gauge(type_instance=str(number)) for number in range(3)])
        daemon.host.jobs[0].run()
        until = time.monotonic() + lab.LIMIT
        while len(daemon.host.rows) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert [row.tags["type_instance"] for row in daemon.host.rows] == ["0", "1", "2"]
        daemon.close()


def test_an_event_is_sent_again(monkeypatch):
    monkeypatch.setattr(outbox, "AGE", 0.01)
    with lab.daemon_of() as daemon:
        daemon.host.answers = [503]
        collectd.Notification(type="gauge", message="m").dispatch()
        daemon.close()
        assert len(daemon.host.events) == 1


def test_a_dispatch_waits_while_too_much_waits(monkeypatch):
    monkeypatch.setattr(outbox, "AGE", 0.01)
    monkeypatch.setattr(outbox, "BATCH", 5)
    monkeypatch.setattr(outbox, "MOST", 20)
    with lab.daemon_of() as daemon:
        most = [0]
        plain_put = daemon.host.put
        away = [True]

        def put(job, rows):
            most[0] = max(most[0], len(daemon._outbox) + len(rows))
            daemon.host.answers = [503] if away[0] else []
            return plain_put(job, rows)

        daemon.host.put = put
        thread = threading.Thread(target=lambda: [gauge(type_instance=str(number)) for number in range(60)])
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and most[0] <= 21
        away[0] = False
        thread.join(lab.LIMIT)
        daemon.close()
        assert len(daemon.host.rows) == 60


def test_a_forked_child_sends_its_own_values_only():
    with lab.daemon_of() as daemon:
        gauge("parent")
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                gauge("child")
                os.write(into, ",".join(row.measurement for row in daemon.host.rows).encode())
            finally:
                os._exit(0)
        os.close(into)
        with os.fdopen(out) as pipe:
            assert pipe.read() == "child"
        os.waitpid(pid, 0)
        daemon.close()
        assert [row.measurement for row in daemon.host.rows] == ["parent"]


# --- the way to write callbacks ---


def test_the_queue_holds_back_and_loses_nothing():
    gate, written = threading.Event(), []

    def write(item):
        gate.wait(lab.LIMIT)
        written.append(item)

    queue = WriteQueue(write, most=10)
    queue.start(1)
    thread = threading.Thread(target=lambda: [queue.put(number) for number in range(100)])
    thread.start()
    thread.join(0.2)
    assert thread.is_alive() and len(queue) == 10
    gate.set()
    thread.join(lab.LIMIT)
    queue.stop()
    assert written == list(range(100))


def test_a_writer_that_dispatches_does_not_wait_for_itself():
    written = []

    def write(item):
        written.append(item)
        if item < 50:
            queue.put(item + 100)
            queue.put(item + 200)

    queue = WriteQueue(write, most=1)
    queue.start(1)
    for number in range(50):
        queue.put(number)
    queue.stop()
    assert len(written) == 150


def test_a_slow_writer_makes_the_queue_short():
    queue = WriteQueue(lambda item: time.sleep(0.05), most=10_000)
    queue.start(2)
    for number in range(40):
        queue.put(number)
    queue.stop()
    assert 2 <= queue._bound() < 400


def test_before_its_start_a_queue_takes_all_and_after_its_stop_who_puts_writes():
    written = []
    queue = WriteQueue(written.append, most=1)
    for number in range(5):
        queue.put(number)
    assert written == []
    queue.start(1)
    queue.stop()
    queue.put(5)
    assert written == [0, 1, 2, 3, 4, 5]


def test_everything_dispatched_is_written_at_a_stop():
    written = []

    def write(values):
        time.sleep(0.001)
        written.append(values.type_instance)

    order = []
    with lab.daemon_of() as daemon:
        collectd.register_write(write)
        collectd.register_flush(lambda timeout, identifier: order.append(("flush", timeout, identifier, len(written))))
        collectd.register_shutdown(lambda: (order.append("first"), gauge(type_instance="late")), name="1")
        collectd.register_shutdown(lambda: order.append("second"), name="2")
        collectd.register_read(lambda: [gauge(type_instance=str(number)) for number in range(300)])
        daemon.initialize()
        daemon.host.jobs[0].run()
        daemon.close()
        assert len(daemon.host.rows) == 301
    assert sorted(written[:300], key=int) == [str(number) for number in range(300)] and written[300:] == ["late"]
    assert order == [("flush", 0, None, 300), "second", "first"]


def test_series_that_are_gone_are_forgotten(monkeypatch):
    from pythond.dialects.collectd import daemon as daemon_

    now = [1700000000.0]
    monkeypatch.setattr(daemon_, "_FEWEST_SERIES", 10)
    monkeypatch.setattr(daemon_.time, "time", lambda: now[0])
    monkeypatch.setattr(daemon_.time, "time_ns", lambda: int(now[0] * 1e9))
    with lab.daemon_of() as daemon:
        daemon._most_series = 10
        for number in range(100):
            now[0] += 10
            gauge(type_instance=str(number))
        assert len(daemon._series) < 20
        daemon.close()
