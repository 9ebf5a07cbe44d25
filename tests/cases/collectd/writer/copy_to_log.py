"""Writes what the others dispatch into the log."""
import collectd


def write(values, data):
    collectd.notice("%s %s-%s = %s" % (data, values.plugin, values.type, values.values))


collectd.register_write(write, "wrote")
collectd.register_flush(lambda timeout, identifier: collectd.notice("flushed %s %s" % (timeout, identifier)))
collectd.register_shutdown(lambda: collectd.notice("shut down"))
