"""The names of modules that netdata has shipped: `python.d.conf` may name them although they are not installed."""

from __future__ import annotations

NAMES = frozenset(
    str.split(  # a list of this length would be one line per name
        """
    adaptec_raid alarms am2320 anomalies apache apache_cache beanstalk bind_rndc boinc ceph changefinder chrony couchdb
    cpufreq cpuidle dns_query_time dnsdist dockerd dovecot elasticsearch energid example exim fail2ban freeradius
    gearman go_expvar gunicorn_log haproxy hddtemp hpssa httpcheck icecast ipfs isc_dhcpd linux_power_supply litespeed
    logind mdstat megacli memcached mongodb monit mysql nginx nginx_log nginx_plus nsd ntpd nvidia_smi openldap oracledb
    ovpn_status_log pandas phpfpm portcheck postfix postgres powerdns proxysql puppet rabbitmq redis rethinkdbs
    retroshare riakkv samba sensors smartd_log spigotmc springboot squid sslcheck tomcat tor traefik unbound uwsgi
    varnish w1sensor web_log zscores
    """
    )
)
