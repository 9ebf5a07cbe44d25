"""In place of the client of Ceph: two pools, two disks; both do more once the file `later` is there."""

import json
import os


class Error(Exception):
    """The cluster does not answer."""


class Rados:
    """What the module asks."""

    def __init__(self, conffile, conf, rados_id):
        self.started = False

    def connect(self):
        self.started = True

    def get_cluster_stats(self):
        return {"kb_used": 1 << 20, "kb_avail": 1 << 22, "num_objects": 5}

    def mon_command(self, command, more):
        late = int(os.path.exists(os.environ["LATER"]))
        what = json.loads(command)["prefix"]
        latency = {"apply_latency_ms": 2 + late, "commit_latency_ms": 1.5}
        rates = {"read_bytes_sec": 2048 * (1 + late), "write_op_per_sec": 3}
        answer = {
            "df": {
                "pools": [
                    {"name": "rbd.one", "stats": {"kb_used": 100 + late, "objects": 3}},
                    {"name": "two words", "stats": {"kb_used": 0, "objects": 0}},
                ]
            },
            "osd df": {
                "nodes": [
                    {"name": "osd.0", "kb_used": 10.75, "kb": 1000},
                    {"name": "osd.1", "kb_used": "11", "kb": 1000 + late},
                ]
            },
            "osd perf": {
                "osdstats": {
                    "osd_perf_infos": [{"id": 0, "perf_stats": latency}, {"id": 1, "perf_stats": latency}]
                }
            },
            "osd pool stats": [
                {"pool_name": "rbd.one", "client_io_rate": rates},
                {"pool_name": "two words", "client_io_rate": {}},
            ],
        }[what]
        return 0, json.dumps(answer).encode(), ""
