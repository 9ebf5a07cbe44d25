"""Types for machines without a types.db: what public Python plugins use, in our own form.

A line of `_SINGLE` has the kind, the range and the names of types with one data source, `value`; a line of `_SEVERAL`
names its data sources.
"""

from __future__ import annotations

_SINGLE = (
    ("ABSOLUTE", "0", "U", "absolute"),
    ("COUNTER", "U", "U", "counter"),
    ("DERIVE", "0", "U", "derive"),
    ("GAUGE", "U", "U", "gauge ceph_bytes current multimeter objects power pressure temperature voltage"),
    ("GAUGE", "0", "100", "cache_ratio humidity signal_quality"),
    ("GAUGE", "0", "100.1", "percent"),
    ("GAUGE", "0", "65535", "apache_connections apache_idle_workers apache_scoreboard ping users"),
    ("GAUGE", "0", "65535", "mysql_threads nginx_connections "),
    ("GAUGE", "0", "4294967295", "bitrate conntrack entropy uptime snr signal_samples"),
    ("GAUGE", "0", "1125899906842623", "cache_size virt_memory"),
    ("GAUGE", "0", "281474976710656", "memory"),
    ("GAUGE", "0", "1099511627776", "swap"),
    ("GAUGE", "-1000000", "1000000", "delay time_offset"),
    ("GAUGE", "U", "0", "signal_noise signal_power"),
    (
        "GAUGE",
        "0",
        "U",
        "active_connections bucket_counters bytes capacity changes_since_last_save count cpufreq current_connections "
        "current_sessions df_complex df_inodes drbd_resource email_count email_size "
        "fanspeed file_handles file_size files flow frequency latency "
        "media memory_bandwidth memory_throttle_count node_stat "
        "pg_db_size pg_n_tup_g pg_numbackends ps_rss ps_stacksize ps_state ps_vm queue_length records requests "
        "response_code response_time routes segments sessions smart_badsectors smart_temperature "
        "smart_poweron smart_powercycles spl_float tcp_connections threads time_dispersion "
        "time_ref timeleft vcpu vs_memory vs_processes vs_threads memcached_items "
        "memcached_connections mysql_bpool_bytes mysql_bpool_pages blocked_clients",
    ),
    (
        "DERIVE",
        "0",
        "U",
        "apache_bytes apache_requests cache_eviction cache_operation cache_result "
        "connections contextswitch cpu disk_error disk_ops_complex dns_answer dns_notify "
        "dns_opcode dns_qtype dns_query dns_question dns_rcode dns_reject dns_request dns_resolver dns_response "
        "dns_transfer dns_update email_check errors evicted_keys expired_keys fork_rate http_requests "
        "http_response_codes if_collisions if_multicast if_rx_dropped if_rx_errors if_rx_octets if_rx_packets "
        "if_tx_dropped if_tx_errors if_tx_octets if_tx_packets invocations ipt_bytes ipt_packets irq job_stats "
        "memcached_command mysql_bpool_counters mysql_commands mysql_handler mysql_innodb_data mysql_innodb_dblwr "
        "mysql_innodb_log mysql_innodb_pages mysql_innodb_row_lock mysql_innodb_rows mysql_locks mysql_log_position "
        "mysql_select mysql_slow_queries mysql_sort mysql_sort_merge_passes mysql_sort_rows nfs_procedure "
        "nginx_requests operations packets pg_blks pg_n_tup_c pg_scan pg_xact protocol_counter "
        "swap_io total_bytes total_connections total_events "
        "total_objects total_operations total_requests total_sessions total_threads total_time_in_ms "
        "total_values vmpage_action ",
    ),
)
_SEVERAL = (
    "compression uncompressed:DERIVE:0:U compressed:DERIVE:0:U",
    "df used:GAUGE:0:1125899906842623 free:GAUGE:0:1125899906842623",
    "disk_io_time io_time:DERIVE:0:U weighted_io_time:DERIVE:0:U",
    "disk_latency read:GAUGE:0:U write:GAUGE:0:U",
    "disk_merged read:DERIVE:0:U write:DERIVE:0:U",
    "disk_octets read:DERIVE:0:U write:DERIVE:0:U",
    "disk_ops read:DERIVE:0:U write:DERIVE:0:U",
    "disk_time read:DERIVE:0:U write:DERIVE:0:U",
    "dns_octets queries:DERIVE:0:U responses:DERIVE:0:U",
    "duration seconds:GAUGE:0:U",
    "if_dropped rx:DERIVE:0:U tx:DERIVE:0:U",
    "if_errors rx:DERIVE:0:U tx:DERIVE:0:U",
    "if_octets rx:DERIVE:0:U tx:DERIVE:0:U",
    "if_packets rx:DERIVE:0:U tx:DERIVE:0:U",
    "io_octets rx:DERIVE:0:U tx:DERIVE:0:U",
    "io_packets rx:DERIVE:0:U tx:DERIVE:0:U",
    "load shortterm:GAUGE:0:5000 midterm:GAUGE:0:5000 longterm:GAUGE:0:5000",
    "memcached_octets rx:DERIVE:0:U tx:DERIVE:0:U",
    "mysql_octets rx:DERIVE:0:U tx:DERIVE:0:U",
    "mysql_qcache hits:DERIVE:0:U inserts:DERIVE:0:U not_cached:DERIVE:0:U lowmem_prunes:DERIVE:0:U "
    "queries_in_cache:GAUGE:0:U",
    "node_octets rx:DERIVE:0:U tx:DERIVE:0:U",
    "ps_count processes:GAUGE:0:1000000 threads:GAUGE:0:1000000",
    "ps_cputime user:DERIVE:0:U syst:DERIVE:0:U",
    "ps_disk_octets read:DERIVE:0:U write:DERIVE:0:U",
    "ps_disk_ops read:DERIVE:0:U write:DERIVE:0:U",
    "ps_pagefaults minflt:DERIVE:0:U majflt:DERIVE:0:U",
    "serial_octets rx:DERIVE:0:U tx:DERIVE:0:U",
    "vmpage_faults minflt:DERIVE:0:U majflt:DERIVE:0:U",
    "vmpage_io in:DERIVE:0:U out:DERIVE:0:U",
)


def text() -> str:
    """Returns all of them in the form of types.db."""
    lines = [f"{name} value:{kind}:{low}:{high}" for kind, low, high, names in _SINGLE for name in names.split()]
    return "\n".join([*lines, *_SEVERAL])
