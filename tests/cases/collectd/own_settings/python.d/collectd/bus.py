"""Reports what its configuration says, in our own settings; its reads have an interval of their own."""
import collectd

found = {}


def configure(config):
    for node in config.children:
        found[node.key] = node.values
        for child in node.children:
            found["%s.%s" % (node.key, child.key)] = child.values


def read(which):
    assert which == "all"
    collectd.info("found %s" % sorted(found.items()))
    one = collectd.Values("load", [1, 2.5, float("nan")], plugin="bus")
    one.dispatch(meta={"speeds": len(found["Speeds"])})
    raise collectd.CollectdError("no more") if len(found) > 9 else SystemExit


def init():
    collectd.register_read(read, 3600, "all", "all")
    collectd.register_read(lambda: collectd.Values(type="gauge", plugin="bus", values=[1]).dispatch())


collectd.register_config(configure)
collectd.register_init(init)
