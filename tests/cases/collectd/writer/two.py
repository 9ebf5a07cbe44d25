import collectd

collectd.register_read(lambda: collectd.Values("gauge", [2], plugin="two").dispatch())
