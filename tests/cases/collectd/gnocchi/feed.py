"""Dispatches three value lists in each of its first three runs."""
import collectd

runs = [0]


def read():
    runs[0] += 1
    if runs[0] <= 3:
        at = 1000 + runs[0]
        collectd.Values(type="load", plugin="load", values=[1, float("nan"), 3], time=at).dispatch()
        collectd.Values(type="if_octets", plugin="net", plugin_instance="e/0", values=[runs[0], 2], time=at).dispatch()
        collectd.Values(type="ps_count", plugin="ps", host="a/b", values=[1.5, 2], time=at).dispatch()
    if runs[0] == 4:
        collectd.Values(type="gauge", plugin="last", values=[4], time=1004).dispatch()


collectd.register_read(read)
