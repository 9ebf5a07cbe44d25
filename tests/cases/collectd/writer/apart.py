import collectd

collectd.register_read(lambda: collectd.Values("gauge", [3], plugin="apart").dispatch())
