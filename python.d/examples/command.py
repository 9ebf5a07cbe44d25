"""Turns the output of a command into metrics: the use of each file system, from `df`.

To enable it, add "examples" to `dirs` in `conf.d/pythond.conf`.
"""

import subprocess

from datakit_framework import DataKitFramework


class DiskUsage(DataKitFramework):
    name = "DiskUsage"
    interval = 60

    def run(self):
        # Always give a timeout: `df` waits for ever for a network drive that is gone.
        output = subprocess.run(["df", "-kP"], stdout=subprocess.PIPE, timeout=20, check=False).stdout
        points = [
            {"measurement": "disk_usage", "tags": tags, "fields": fields}
            for tags, fields in parse(output.decode("utf-8", "replace"))
        ]
        # Many points go best in one report: M metrics, L logs, O objects, E events.
        if points:
            self.report({"M": points, "input": self.name})


def parse(output):
    """Reads the table of `df -kP`: device, blocks, used, available, percent, mount point."""
    for line in output.splitlines()[1:]:
        columns = line.split(None, 5)
        if len(columns) == 6 and columns[1].isdigit() and int(columns[1]) > 0:
            device, total, used, free, _, mount = columns
            yield (
                {"device": device, "mount": mount},
                {"total_kib": int(total), "used_kib": int(used), "free_kib": int(free)},
            )
