"""The three kinds of key events, one of each in every run, as templates.

To enable it, add "examples" to `dirs` in `conf.d/pythond.conf`.

Every event needs `df_status` (ok, info, warning, error, critical or nodata), an id and a title. `df_date_range` is the
span of time it speaks of, in seconds. Further keyword arguments become fields.
"""

import getpass
import json
import os
import socket
import uuid

from datakit_framework import DataKitFramework


class Events(DataKitFramework):
    name = "Events"
    interval = 60

    def run(self):
        load = os.getloadavg()[0]

        # The system: something happened here.
        self.feed_system_event(
            df_date_range=self.interval,
            df_status="info",
            df_event_id=new_id(),
            df_title=f"The load is {load:.2f}",
        )

        # A monitor: something measured is as it should be, or not. The dimensions say what was measured.
        self.feed_monitor_event(
            df_dimension_tags=json.dumps({"host": socket.gethostname()}),
            df_date_range=self.interval,
            df_status="warning" if load > (os.cpu_count() or 1) else "ok",
            df_event_id=new_id(),
            df_title="Load of " + socket.gethostname(),
            df_message=f"{load:.2f}",
            load=load,
        )

        # A user: somebody did something.
        self.feed_user_event(
            df_user_id=getpass.getuser(),
            tags={"tool": "events.py"},
            df_date_range=0,
            df_status="info",
            df_event_id=new_id(),
            df_title="Ran the example",
        )


def new_id():
    return "event-" + str(uuid.uuid4())
