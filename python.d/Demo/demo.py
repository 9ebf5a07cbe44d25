"""The collector that runs out of the box: the load of this machine, every ten seconds.

Copy this folder, change what `run` reports, and name the new folder in `dirs` of `conf.d/pythond.conf`.
"""

import os
import sys
import time
import uuid

from datakit_framework import DataKitFramework


class Demo(DataKitFramework):
    name = "Demo"
    interval = 10  # seconds between two runs

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.is_first_run = True

    def run(self):
        """Is called every `interval` seconds; what it raises is logged, and the next run comes all the same."""
        load1, load5, load15 = os.getloadavg()
        fields = {"load1": load1, "load5": load5, "load15": load15, "cpus": os.cpu_count() or 1}

        uptime = seconds_since_boot()
        if uptime is not None:
            fields["uptime_seconds"] = uptime
        processes = count_processes()
        if processes is not None:
            fields["processes"] = processes

        # Further keyword arguments would become fields too. Without `time`, the point has the time of its arrival.
        self.feed_metric(measurement="demo", tags={"platform": sys.platform}, fields=fields)

        if self.is_first_run:
            self.is_first_run = False
            self.feed_system_event(
                tags={"platform": sys.platform},
                df_date_range=self.interval,
                df_status="info",  # ok, info, warning, error, critical or nodata
                df_event_id="event-" + str(uuid.uuid4()),
                df_title="The demo collector has started",
                df_message=f"Process {os.getpid()}, Python {sys.version.split()[0]}, at {time.strftime('%X')}",
            )


def seconds_since_boot():
    """Returns how long the machine is up, or None where the system has no /proc."""
    try:
        with open("/proc/uptime") as file:
            return float(file.read().split()[0])
    except OSError:
        return None


def count_processes():
    """Returns the number of processes, or None where the system has no /proc."""
    try:
        return sum(1 for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return None
