"""In place of the client of RethinkDB: two servers, of which one is away; once `later` is there a question fails."""

import os
import types

__version__ = "2.4.9"


class ReqlError(Exception):
    """The server does not answer."""


errors = types.SimpleNamespace(ReqlError=ReqlError)
_failed = []


class RethinkDB:
    """What the module asks."""

    def connect(self, host, port, user, password, timeout):
        if host == "away":
            raise ReqlError("nobody is there")
        return self

    def db(self, name):
        return self

    def table(self, name):
        return self

    def run(self, connection):
        late = int(os.path.exists(os.environ["LATER"]))
        if late and not _failed:
            _failed.append(1)
            raise ReqlError("lost")
        counts = {"clients_active": 2 + late, "queries_per_sec": 1.5, "read_docs_per_sec": 0, "written_docs_per_sec": 7}
        totals = {"queries_total": 70, "read_docs_total": 9, "written_docs_total": 4, "client_connections": 1}
        rows = [
            {"id": ["cluster"], "query_engine": counts},
            {"id": ["server", "x"], "server": "one.a", "query_engine": {**counts, **totals}},
            {"id": ["table", "y"]},
            {"id": ["server", "z"], "server": "two", "error": "away"},
        ]
        return types.SimpleNamespace(items=rows)
