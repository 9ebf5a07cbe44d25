"""Values of each kind: every second, with one run missed, and again after so long that they are forgotten."""
import collectd

RUNS = (1, 2, 4, 11, 12)
INTERVAL = 2
SERIES = {
    "up": ("counter", (100, 350, 600, 5, 6)),
    "wrap32": ("counter", (4294967000, 4294967290, 4, 10, 20)),
    "wrap64": ("counter", (2**64 - 10, 2**64 - 5, 5, 1, 2)),
    "reset": ("counter", (5000, 100, 200, 300, 400)),
    "derive": ("derive", (100, 50, 80, 70, 90)),
    "balance": ("balance", (100, 50, 80, 70, 60)),
    "absolute": ("absolute", (10, 20, 30, 40, 50)),
    "gauge": ("gauge", (1.5, -2, 3, 4, 5)),
    "octets": ("if_octets", ((1, 2), (11, 32), (11, 52), (0, 0), (5, 6))),
}
run = [0]


def read():
    run[0] += 1
    if run[0] in RUNS:
        for name, (type, values) in SERIES.items():
            value = values[RUNS.index(run[0])]
            value = value if isinstance(value, tuple) else (value,)
            one = collectd.Values(plugin="gaps", plugin_instance=name, type=type, type_instance=name)
            one.dispatch(values=value, time=1000000 + run[0], interval=INTERVAL)


collectd.register_read(read)
