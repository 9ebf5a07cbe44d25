"""Dispatches one value in each read."""

import collectd


def read():
    collectd.Values(type="gauge", plugin="late").dispatch(values=[1])


collectd.register_read(read)
