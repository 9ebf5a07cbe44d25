"""Names of collectd's plugins in C, which no Python can import: people write them behind `Import`."""

NAMES = frozenset(
    str.split(  # a list of this length would be one line per name
        """
    aggregation amqp amqp1 apache apcups ascent barometer battery bind buddyinfo capabilities ceph cgroups check_uptime
    chrony connectivity conntrack contextswitch cpu cpufreq cpusleep csv curl curl_json curl_xml dbi dcpmm df disk dns
    dpdkevents dpdkstat dpdk_telemetry drbd email entropy ethstat exec fhcount filecount fscache gmond gps grpc
    hddtemp hugepages infiniband intel_pmu intel_rdt interface ipc ipmi iptables ipstats ipvs irq iwinfo java jolokia
    load log_logstash logfile logparser lpar lua lvm madwifi match_empty_counter match_hashed match_regex
    match_timediff match_value mbmon mcelog md mdevents memcachec memcached memory modbus mqtt multimeter mysql netapp
    netlink netstat_udp network nfs nginx notify_desktop notify_email notify_nagios ntpd numa nut olsrd onewire
    openldap openvpn oracle ovs_events ovs_stats pcie_errors perl pf pinba ping postgresql powerdns processes procevent
    protocols python redfish redis routeros rrdcached rrdtool sensors serial sigrok slurm smart snmp snmp_agent
    statsd swap synproxy sysevent syslog table tail tail_csv tape target_notification target_replace target_scale
    target_set target_v5upgrade tcpconns teamspeak2 ted thermal threshold tokyotyrant turbostat ubi unixsock uptime
    users uuid varnish virt vmem vserver wireless write_graphite write_http write_influxdb_udp write_kafka write_log
    write_mongodb write_prometheus write_redis write_riemann write_sensu write_stackdriver write_syslog write_tsdb
    xencpu xmms zfs_arc zone zookeeper
        """
    )
)
