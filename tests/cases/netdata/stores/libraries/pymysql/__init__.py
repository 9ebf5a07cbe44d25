"""In place of a client of MySQL that speaks to ProxySQL; how it is called comes back as values."""

import os
from decimal import Decimal


class MySQLError(Exception):
    """Whatever goes wrong."""


class OperationalError(MySQLError):
    """The server does not answer, or refuses."""


class ProgrammingError(MySQLError):
    """The question is wrong."""


_lost = []


class Connection:
    """A connection with its only cursor."""

    def __init__(self, given):
        self.given = given
        self.commits = 0
        self.description = None

    def cursor(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def close(self):
        pass

    def commit(self):
        self.commits += 1

    def execute(self, text):
        self.text = text
        self.late = int(os.path.exists(os.environ["LATER"]))
        if "denied" in text:
            raise OperationalError(1142, "SELECT command denied to user")
        if self.late and self.given.get("user") == "lost" and not _lost:
            _lost.append(1)
            raise OperationalError(2006, "MySQL server has gone away")
        self.description = (("Variable_Name",), ("Variable_Value",))

    def fetchall(self):
        if "global" in self.text.lower():
            return (
                ("Client_Connections_aborted", len(self.given)),
                ("Client_Connections_connected", len(str(self.given.get("passwd", "")))),
                ("Questions", str(1000 + self.late)),
                ("Slow_queries", Decimal("3.75")),
                ("ProxySQL_Uptime", int(self.given.get("port", 1))),
                ("Unknown", 1),
            )
        if "pool" in self.text:
            row = ("ten", "10.0.0.1", 3306, "ONLINE", 1, 2, 3, 0, 40, "1000", 2000, 150)
            other = ("Ten Two", "10.0.0.2", 3306, "SHUNNED", 0, 0, 0, 1, 0, 0, 0, Decimal("0.5"))
            return (row, other) if self.late else (row,)
        counts = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
        rows = (("SELECT", 1500, 30, *counts), ("ALTER_TABLE", 0, 0, *(0,) * 12))
        return (*rows, ("INSERT", 1500, 30, *counts)) if self.late else rows


def connect(**given):
    return Connection(given)
