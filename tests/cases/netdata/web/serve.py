"""Answers as the servers of seven modules do; the figures are made up, and change once the file `later` is there."""

import http.server
import json
import os
import sys

PORT, LATER = int(sys.argv[1]), sys.argv[2]


def answers(late):
    more = 5 if late else 0
    alarm = {"status": "WARNING" if late else "CLEAR", "value": 1.5 + more}
    alarms = {"cpu": alarm, "disk": {"status": "CRITICAL", "value": None}, "odd": {"status": "UNDEFINED", "value": 3}}
    if late:
        del alarms["disk"]
        alarms["net"] = {"status": "CLEAR", "value": 7}
    codes = {"200": 10 + more, "304": 2, "302": 1, "404": 3, "500": 1}
    if late:
        codes["418"] = 1
    riak = {"node_gets": 100 + more, "node_puts": 7, "vnode_gets": 3, "pbc_active": 2, "memory_processes": 1 << 30}
    riak.update({"node_get_fsm_time_mean": 1234.5, "node_get_fsm_time_median": "7", "sys_processes": 500})
    share = {"bandwidth_up_kb": 1.5, "bandwidth_down_kb": 2.25 + more, "peers_all": 9, "peers_connected": 4, "dht_active": late}
    share.update({"dht_size_all": 1000, "dht_size_rs": 10})
    sources = [{"server_name": "one radio", "stream_start": "today", "listeners": 3 + more}, {"server_name": "two", "stream_start": "today", "listeners": 1}]
    health = {"uptime_sec": 99.5, "average_response_time_sec": 0.0025, "total_response_time_sec": 1.5 + more}
    health.update(total_count=600 + more, total_status_code_count=codes)
    return {
        "/alarms": {"alarms": alarms},
        "/icecast": {"icestats": {"source": sources}},
        "/api/v0/stats/bw": {"RateIn": 100.75 + more, "RateOut": 50},
        "/api/v0/swarm/peers": {"Peers": [1, 2, 3]},
        "/api/v0/stats/repo": {"RepoSize": 5 << 30, "NumObjects": 77 + more, "StorageMax": "10GB"},
        "/api/v0/pin/ls": {"Keys": {"a": {"Type": "recursive"}, "b": {"Type": "direct"}}},
        "/api/v2/stats": {"returncode": "ok", "data": [share]},
        "/riak": riak,
        "/tomcat": tomcat(more),
        "/health": health,
    }


def tomcat(more):
    pools = "".join(
        f"<memorypool name='{name}' usageUsed='{used}' usageCommitted='{used * 2}' usageMax='{used * 4}'/>"
        for name, used in (("PS Eden Space", 1000 + more), ("PS Survivor Space", 500), ("PS Old Gen", 3000), ("Code Cache", 70))
    )
    threads = f"<threadInfo currentThreadsBusy='{1 + more}' currentThreadCount='10'/>"
    requests = f"<requestInfo processingTime='{100 + more}' requestCount='{20 + more}' errorCount='1' bytesReceived='5' bytesSent='600'/>"
    memory = "<memory free='1048576' total='4194304' max='9'/>"
    return f"<status><jvm>{memory}{pools}</jvm><connector name='http-8080'>{threads}{requests}</connector></status>"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        found = answers(os.path.exists(LATER)).get(self.path.partition("?")[0])
        body = found if isinstance(found, str) else json.dumps(found)
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *given):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
