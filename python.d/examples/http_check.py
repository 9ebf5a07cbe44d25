"""Asks an HTTP address whether it is well, and says so as metric; when the answer changes, as an event too.

To enable it, add "examples" to `dirs` in `conf.d/pythond.conf`. The address is a setting of the input:

    config = { url = "http://127.0.0.1:9529/v1/ping" }
"""

import json
import time
import urllib.error
import urllib.request
import uuid

from datakit_framework import DataKitFramework


class HttpCheck(DataKitFramework):
    name = "HttpCheck"
    interval = 30
    was_well = None

    def run(self):
        url = self.config.get("url", "http://127.0.0.1:9529/v1/ping")
        well, status, seconds, reason = ask(url)
        self.feed_metric(
            measurement="http_check",
            tags={"url": url},
            fields={"up": 1 if well else 0, "status": status, "seconds": seconds},
        )
        if well != self.was_well and not (well and self.was_well is None):
            # A monitor's event says with `df_dimension_tags` what it is about; a dict in JSON.
            self.feed_monitor_event(
                df_dimension_tags=json.dumps({"url": url}),
                tags={"url": url},
                df_date_range=self.interval,
                df_status="ok" if well else "critical",
                df_event_id="event-" + str(uuid.uuid4()),
                df_title=url + (" answers again" if well else " does not answer as it should"),
                df_message=reason,
            )
        self.was_well = well


def ask(url):
    """Returns whether the answer is a 2xx, its status (0 without one), how long it took, and the reason in words."""
    started = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            status, reason = answer.status, f"status {answer.status}"
    except urllib.error.HTTPError as error:
        status, reason = error.code, f"status {error.code}"
    except OSError as error:
        status, reason = 0, str(error)
    return 200 <= status < 300, status, time.monotonic() - started, reason
