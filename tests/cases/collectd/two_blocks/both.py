"""Is imported by two blocks; what its callbacks raise, and in which order they are called."""
import collectd, os, sys, threading

out = open(os.environ["DIR"] + "/out.txt", "a")
reads = [0]


def say(*what):
    out.write(" ".join(map(str, what)) + "\n")
    out.flush()


say("imported", sys.path[0] == os.path.dirname(os.path.abspath(__file__)))
collectd.register_config(lambda node: say("config", node.key, [(one.key, one.values) for one in node.children]))


def init():
    say("init", os.getcwd() == os.path.realpath(os.environ["DIR"]))
    raise ValueError("init fails")


def read():
    reads[0] += 1
    if reads[0] < 3:
        say("read")
        collectd.Values(type="gauge", values=[1]).dispatch()


def notification(note):
    say("notification", note.severity, note.message, note.plugin, note.host)
    raise KeyError("x")


def odd():
    thread = threading.Thread(target=lambda: collectd.Values(type="gauge", plugin="thread", values=[1]).dispatch())
    thread.start()
    thread.join()
    collectd.Notification(type="gauge", message="one\ntwo", severity=0).dispatch()
    collectd.Notification(type="gauge", message="h\u00e9", severity=4, host="a/b", plugin_instance="x/y").dispatch()
    raise collectd.CollectdError("no")


def write(values):
    if reads[0] < 3:
        say("write", values.plugin, values.interval, values.values)


collectd.register_init(init)
collectd.register_read(read)
collectd.register_read(odd, 100, name="odd")
collectd.register_notification(notification)
collectd.register_log(lambda severity, message: say("log", severity, message))
collectd.register_write(write)
collectd.register_shutdown(lambda: say("down"))
