"""A plugin with a callback of each kind, in the order of its life."""
import collectd, os

out = open(os.environ["DIR"] + "/out.txt", "a")
served = [0]


def say(word):
    out.write(word + "\n")
    out.flush()


def config(node):
    for child in node.children:
        say(f"config {child.key} {' '.join(child.values)}")


def init():
    say("init")
    collectd.notice("the kitchen is open")


def read(data=None):
    served[0] += 1
    if served[0] <= 2:
        dish = collectd.Values(type="gauge")
        dish.plugin = "kitchen"
        dish.dispatch(values=[42.5])


def write(values, data=None):
    for number in values.values:
        say("write %s (%s): %f" % (values.plugin, values.type, number))


collectd.register_config(config)
collectd.register_init(init)
collectd.register_read(read)
collectd.register_write(write)
collectd.register_log(lambda severity, message: say(f"log {severity} {message}"))
collectd.register_shutdown(lambda: say("shutdown"))
