"""In place of the client of Oracle: a session whose numbers are Decimals; once `later` is there a table space more."""

import os
from decimal import Decimal


class Error(Exception):
    """Something went wrong."""


class DatabaseError(Error):
    """The database does not answer."""


_failed = []


class Session:
    """A connection with its only cursor."""

    def cursor(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def close(self):
        pass

    def execute(self, text):
        self.text = " ".join(text.split()).lower()

    def fetchall(self):
        late = int(os.path.exists(os.environ["LATER"]))
        if "sysmetric" in self.text:
            if late and not _failed:
                _failed.append(1)
                raise DatabaseError("ORA-03113")
            return [
                ("Session Count", 72 + late),
                ("Session Limit %", Decimal("15.2542372881356")),
                ("Logons Per Sec", Decimal("0.0166666666666667")),
                ("Shared Pool Free %", "7.5"),
                ("Nothing We Know", 1),
            ]
        if "v$sysstat" in self.text:
            return [("user commits", 9104), ("parse count (total)", Decimal("483695.5")), ("new (one)", 1)]
        if "wait" in self.text:
            return [("User I/O", 0), ("System I/O", Decimal("0.002")), ("Commit", 3.5)]
        rows = [("SYSTEM", 874250240, Decimal("3233169408.5"), 27.04), ("TEMP", None, None, None)]
        return rows + [("USERS", 1048576.0, 3233169408.0, 0.0324)] * late


def connect(text):
    if not text.startswith("one/two@"):
        raise DatabaseError("ORA-01017")
    return Session()
