"""In place of the client of MongoDB: `single` is a server alone, `refused` is none, all others are of a set of three."""

import datetime
import os

from pymongo.errors import PyMongoError

ASCENDING, DESCENDING = 1, -1
version_tuple = (3, 12, 1)
_LOCKS = {"acquireCount": {"r": 5, "w": 2, "R": 1, "W": 0}}


class Moment:
    """A time of the log of operations."""

    def __init__(self, second):
        self.second = second

    def as_datetime(self):
        return datetime.datetime(2026, 1, 1, 0, 0, self.second)


class Rows:
    """What `find` has found."""

    def __init__(self, rows):
        self.rows = rows

    def sort(self, key, direction):
        return Rows(self.rows[::direction])

    def limit(self, number):
        return self.rows[:number]


class Table:
    """The log of operations."""

    def find(self):
        return Rows([{"ts": Moment(second)} for second in (1, 2, 41)])


class Database:
    """One database of a server."""

    def __init__(self, name, is_single):
        self.name, self.is_single = name, is_single
        self.oplog = self
        self.rs = Table()

    def authenticate(self, name, password):
        if (self.name, name, password) != ("theirs", "one", "two"):
            raise PyMongoError("who is that?")

    def command(self, what):
        late = int(os.path.exists(os.environ["LATER"]))
        if what == "dbStats":
            return {"dataSize": 2048 + late, "indexSize": 1024.5, "storageSize": 4096, "objects": 7}
        if what == "replSetGetStatus":
            began = datetime.datetime(1970, 1, 1)
            return {
                "members": [
                    {"name": "a:1", "state": 1, "self": True, "optimeDate": began},
                    {"name": "b:2", "state": 2 + 6 * late, "lastHeartbeatRecv": began, "optimeDate": began},
                    {"name": "c:3", "state": 7, "lastHeartbeatRecv": began},
                ]
            }
        status = {
            "opcounters": {"insert": 3, "query": 4 + late, "update": 0, "delete": 0, "getmore": 1, "command": 9},
            "globalLock": {"activeClients": {"readers": 1, "writers": 2}, "currentQueue": {"readers": 0, "writers": 0}},
            "connections": {"current": 3, "available": 100, "totalCreated": 12},
            "mem": {"bits": 64, "resident": 90, "virtual": 400, "mapped": 100},
            "extra_info": {"page_faults": 7},
            "metrics": {"record": {"moves": 1}, "cursor": {"timedOut": 0, "open": {"total": 2, "noTimeout": 0}}},
            "asserts": {"regular": 0, "warning": 1, "msg": 0, "user": 5},
        }
        if not self.is_single:
            status["repl"] = {"hosts": ["a:1", "b:2"], "arbiters": ["c:3"], "me": "a:1"}
            status["dur"] = {"commits": 3, "journaledMB": 0.25}
            status["wiredTiger"] = {
                "cache": {"bytes currently in the cache": 500 + late, "maximum bytes configured": 1000},
                "concurrentTransactions": {"read": {"available": 127, "out": 1}},
            }
            status["wiredTiger"]["cache"]["tracked dirty bytes in the cache"] = 25
            status["locks"] = {"Collection": _LOCKS, "Database": _LOCKS, "Global": _LOCKS, "oplog": _LOCKS}
            status["metrics"]["commands"] = {"count": {"total": 3 + late, "failed": 0}}
        return status


class MongoClient:
    """A connection."""

    server_selection_timeout = 1

    def __init__(self, host, port, serverselectiontimeoutms=0):
        if host == "refused":
            raise PyMongoError(f"{host}:{port} refuses")
        self.is_single = host == "single"

    def __getattr__(self, name):
        return Database(name, self.is_single)

    __getitem__ = __getattr__

    def database_names(self):
        if self.is_single:
            raise PyMongoError("not allowed")
        return ["admin", "local", "b db"]
