"""Callbacks that register and unregister others and themselves, by name and by function."""
import collectd
import os

out = open(os.environ["DIR"] + "/out.txt", "a")
path = []
turns = {"thrice": 0, "main": 0}


def say(*words):
    out.write(" ".join(map(str, words)) + "\n")
    out.flush()


def attempt(function, *given):
    try:
        say("did", function.__name__, function(*given))
    except Exception as error:
        say("raised", function.__name__, type(error).__name__, error)


def gauge(instance, number):
    collectd.Values(type="gauge", plugin="comings", type_instance=instance, values=[number]).dispatch()


def thrice(data):
    turns["thrice"] += 1
    gauge("thrice", turns["thrice"])
    if turns["thrice"] == 3:
        collectd.unregister_read("python.thrice")
        say("thrice is over", data)


class Reader:
    told = False

    def read(self, what):
        with open(path[0]) as file:
            for line in file:
                words = line.split()
                try:
                    collectd.Values(type="load", plugin="comings", values=words).dispatch()
                except Exception as error:
                    self.told or say("line", words[0], type(error).__name__, error)
        self.told = True


def late(values):
    say("late writer", values.plugin)
    attempt(collectd.unregister_write, late)


def main():
    turns["main"] += 1
    if turns["main"] == 1:
        say(collectd.register_read(thrice, 0.5, data="times", name="thrice"))
        say(collectd.register_read(Reader().read, 1, {"what": 1}, "reader"))
        attempt(collectd.unregister_read, "thrice")
        # Its identifier is that of its module, which nobody has.
        attempt(collectd.unregister_read, thrice)
    if turns["main"] == 3:
        attempt(collectd.unregister_read, "python.reader")
        attempt(collectd.unregister_read, "python.reader")
        attempt(collectd.unregister_shutdown, goodbye)
        attempt(collectd.unregister_shutdown, "python.second")
        say(collectd.register_write(late))


def config(node):
    path.extend(child.values[0] for child in node.children if child.key == "File")
    attempt(collectd.unregister_config, config)
    attempt(collectd.unregister_config, config)


def goodbye():
    say("goodbye")


collectd.register_config(config)
collectd.register_read(main, name="main")
collectd.register_init(lambda: attempt(collectd.unregister_init, "python.nobody"))
collectd.register_shutdown(goodbye)
collectd.register_shutdown(goodbye, name="second")
collectd.register_shutdown(lambda: say("third"), name="third")
