"""`MySQLService` with a driver of the test's own."""

import pytest

from bases.FrameworkServices import MySQLService as module
from bases.FrameworkServices.MySQLService import MySQLService


class Driver:
    """What the service uses of MySQLdb."""

    class MySQLError(Exception):
        pass

    class OperationalError(MySQLError):
        pass

    class ProgrammingError(MySQLError):
        pass

    def __init__(self):
        self.connected = []
        self.fails = {}
        self.commits = 0
        self.closed = 0
        self.description = (("name",),)

    def connect(self, **properties):
        self.connected.append(properties)
        if "connect" in self.fails:
            raise self.fails["connect"]
        return self

    def cursor(self):
        return self

    def execute(self, sql):
        if sql in self.fails:
            raise self.fails[sql]
        self.sql = sql

    def fetchall(self):
        return ((self.sql, 1),)

    def commit(self):
        self.commits += 1

    def close(self):
        self.closed += 1


class Service(MySQLService):
    def _get_data(self):
        raw = self._get_raw_data()
        return dict.fromkeys(raw, 1) if raw else None


@pytest.fixture
def driver(monkeypatch):
    made = Driver()
    monkeypatch.setattr(module, "MySQLdb", made)
    return made


def service(make, queries=None, **config):
    one = make(Service, **config)
    one.queries = queries or {"a": "SELECT a", "b": "SHOW b"}
    return one


def test_rows_come_by_the_name_of_the_query(make, driver):
    one = service(make)
    assert one.check() is True
    assert one._get_raw_data() == {"a": (("SELECT a", 1),), "b": (("SHOW b", 1),)}
    assert one._get_raw_data(description=True)["a"] == ((("SELECT a", 1),), (("name",),))
    assert driver.commits == 3 and len(driver.connected) == 1


def test_the_connection_is_as_the_job_says(make, driver):
    config = {
        "user": "u",
        "pass": "p",
        "host": "h",
        "port": "33",
        "my.cnf": "/m",
        "ssl": {"ca": "x"},
        "update_every": 5,
    }
    one = service(make, **config)
    one.extra_conn_properties = {"charset": "utf8"}
    one.check()
    wanted = {"user": "u", "passwd": "p", "host": "h", "port": 33, "read_default_file": "/m", "ssl": {"ca": "x"}}
    assert driver.connected == [{**wanted, "connect_timeout": 5, "charset": "utf8"}]
    service(make, socket="/s", host="h").check()
    assert driver.connected[1] == {"unix_socket": "/s", "connect_timeout": 1}


def test_only_queries_that_read_stay_and_the_configured_ones_win(make, driver, capfd):
    one = service(make, {"a": "SELECT 1", "b": "DROP x", "c": 5})
    assert one.check() is True and one.queries == {"a": "SELECT 1"}
    assert "Removed query(s): ['b', 'c']" in capfd.readouterr().err
    two = service(make, {"a": "SELECT 1"})
    two.configuration["queries"] = {"z": "select z"}
    assert two.check() is True and two._get_raw_data() == {"z": (("select z", 1),)}
    assert service(make, {"b": "DROP x"}).check() is False


@pytest.mark.parametrize(
    "error",
    [
        Driver.ProgrammingError("syntax"),
        Driver.OperationalError(1044, "Access denied for user"),
        Driver.OperationalError(1054, "Unknown column 'x'"),
    ],
)
def test_a_query_that_cannot_work_is_removed_for_good(make, driver, capfd, error):
    driver.fails["SELECT a"] = error
    one = service(make)
    assert one.check() is True
    assert list(one.queries) == ["b"] and driver.closed == 1, "only the cursor is closed"


def test_a_lost_connection_is_none_once_and_its_error_is_told(make, driver, capfd):
    one = service(make)
    one.check()
    driver.fails["SELECT a"] = Driver.OperationalError(2006, "server has gone away")
    assert one._get_raw_data() is None
    assert "server has gone away" in one._pythond_last_error
    driver.fails.clear()
    assert one._get_raw_data() is not None and len(driver.connected) == 2


def test_what_keeps_it_from_connecting_is_named(make, driver, capfd):
    driver.fails["connect"] = Driver.OperationalError(2003, "Can't connect")
    one = service(make)
    assert one.check() is False and "Can't connect" in one._pythond_last_error
    assert one._get_raw_data() is None


def test_a_missing_driver_is_named(make, monkeypatch, capfd):
    monkeypatch.setattr(module, "MySQLdb", None)
    assert service(make).check() is False
    assert "MySQLdb or PyMySQL module is needed" in capfd.readouterr().err
