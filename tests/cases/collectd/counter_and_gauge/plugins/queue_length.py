"""Gauges and counters of queues that its configuration names."""
import collectd

queues = {}
links = {}


def configure(config):
    for node in config.children:
        if node.key == "Queue":
            name, length = node.values
            queues[name] = length
        elif node.key == "Link":
            links[node.values[0]] = int(node.children[0].values[0])
        else:
            collectd.warning("queue_length: unknown key %s" % node.key)


def read(data=None):
    for name, length in queues.items():
        value = collectd.Values(plugin="queue", type="gauge", type_instance=name)
        value.dispatch(values=[length])
    for name, step in links.items():
        value = collectd.Values(plugin="queue", plugin_instance="%s[room=one]" % name)
        value.dispatch(type="pair", values=[1000 + step, 50])
        value.dispatch(type="counter", values=[7])
    collectd.info("read %d queues" % len(queues))


collectd.register_config(configure)
collectd.register_read(read)
