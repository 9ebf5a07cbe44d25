"""Dispatches odd names, meta data and kinds of numbers, once; two writers note what comes."""
import collectd, decimal, fractions, os

out = open(os.environ["DIR"] + "/out.txt", "a")


class Index:
    def __index__(self):
        return 3


def say(*what):
    out.write(" ".join(map(str, what)) + "\n")
    out.flush()


def write(values):
    values.time = 0
    say("write", repr(values), [type(one).__name__ for one in values.values])


def second(values):
    say("second", values.plugin, values.time == 5.5, values.interval, sorted(values.meta))


def tried(call, *given, **named):
    try:
        say("tried", call(*given, **named))
    except Exception as error:
        say("tried", type(error).__name__, error)


def read():
    meta = {"s": 1, "S": 2, b"k": b"v", "f": 2.5, "unsigned": collectd.Unsigned(5), "u": collectd.Unsigned(-1)}
    meta.update({"d": collectd.Signed(2**63), "big": 2**64, "low": -(2**63) - 1, 7: 1, "decimal": decimal.Decimal("1.5")})
    values = collectd.Values(type="gauge", plugin="x", values=[1], meta=meta)
    values.dispatch()
    tried(values.write, "python.second", time=5.5, meta={"a": 1})
    tried(values.write, "PYTHON.SECOND", meta={})
    tried(values.write, "second")
    values.meta = {}
    values.dispatch(host="/", plugin="//", plugin_instance="/a", type_instance="a/")
    values.dispatch(plugin="z" * 126 + "xy", type_instance="y" * 200)
    for number in (True, fractions.Fraction(1, 4), b"5", Index(), decimal.Decimal("5.9")):
        values.dispatch(values=[number], type_instance="gauge")
        tried(values.dispatch, type="derive", values=[number], type_instance=type(number).__name__)
    collectd.unregister_read("python.named")


collectd.register_write(write)
collectd.register_write(second, name="Second")
collectd.register_read(read)
