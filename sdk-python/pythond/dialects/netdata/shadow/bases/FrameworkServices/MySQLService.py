"""Modules that ask a MySQL server."""

from __future__ import annotations

from typing import Any

from bases.FrameworkServices.SimpleService import SimpleService
from pythond.dialects.netdata import optional

MySQLdb: Any = optional.first_of("MySQLdb", "pymysql")

__all__ = ("MySQLService",)

_READS = ("SELECT", "select", "SHOW", "show")


class MySQLService(SimpleService):
    """Runs `queries` (`{name: sql}`) over one connection."""

    def __init__(self, configuration: dict[str, Any], name: Any = None) -> None:
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.queries: Any = {}
        self.extra_conn_properties: dict[str, Any] = {}
        self.__connection: Any = None

    def check(self) -> Any:
        """Says whether a server answers the queries."""
        if MySQLdb is None:
            self.error("MySQLdb or PyMySQL module is needed to use this module: apt install python3-mysqldb")
            return False
        configured = self.configuration.get("queries")
        if isinstance(configured, dict) and configured:
            self.queries = configured
        self.queries = self.__reading(self.queries)
        if not self.queries:
            self.error("No valid queries")
            return False
        if self.__connection is None and not self.__connect():
            return False
        try:
            data = self._get_data()
        except Exception as error:
            self.error(f"_get_data() failed. Error: {error}")
            return False
        self._pythond_link.data = data
        if isinstance(data, dict) and data:
            return True
        self.error("_get_data() returned no data or type is not <dict>")
        return False

    def __reading(self, queries: Any) -> dict[str, str]:
        """Returns the queries that only read."""
        if not isinstance(queries, dict):
            return {}
        good = {name: sql for name, sql in queries.items() if isinstance(sql, str) and sql.startswith(_READS)}
        bad = [name for name in queries if name not in good]
        if bad:
            self.error(f"Removed query(s): {bad}")
        return good

    def __properties(self) -> dict[str, Any]:
        given = self.configuration
        properties: dict[str, Any] = {}
        if given.get("user"):
            properties["user"] = given["user"]
        if given.get("pass"):
            properties["passwd"] = str(given["pass"])
        if given.get("socket"):
            properties["unix_socket"] = given["socket"]
        elif given.get("host"):
            properties["host"] = given["host"]
            properties["port"] = int(given.get("port") or 3306)
        if given.get("my.cnf"):
            properties["read_default_file"] = given["my.cnf"]
        if given.get("ssl"):
            properties["ssl"] = given["ssl"]
        properties["connect_timeout"] = max(1, int(self._runtime_counters.update_every))
        properties.update(self.extra_conn_properties)
        return properties

    def __connect(self) -> bool:
        try:
            self.__connection = MySQLdb.connect(**self.__properties())
        except Exception as error:
            self.__connection = None
            self.error(f"cannot connect: {error}")
            return False
        return True

    def __disconnect(self) -> None:
        connection, self.__connection = self.__connection, None
        try:
            connection.close()
        except Exception as error:
            self.debug("cannot close the connection:", error)

    def _get_raw_data(self, description: Any = None) -> Any:
        """Returns `{name: rows}`, with `description` `{name: (rows, description)}`; None without a connection."""
        if self.__connection is None and not self.__connect():
            return None
        raw: dict[str, Any] = {}
        try:
            cursor = self.__connection.cursor()
            try:
                for name in list(self.queries):
                    if self.__execute(cursor, name):
                        rows = cursor.fetchall()
                        raw[name] = (rows, cursor.description) if description else rows
            finally:
                cursor.close()
            self.__connection.commit()
        except (MySQLdb.MySQLError, RuntimeError, TypeError, AttributeError) as error:
            self.error(f"the connection is lost: {error}")
            self.__disconnect()
            return None
        return raw or None

    def __execute(self, cursor: Any, name: str) -> bool:
        """Runs a query; one that cannot work is removed for good. Raises what is wrong with the connection."""
        try:
            cursor.execute(self.queries[name])
        except (MySQLdb.ProgrammingError, MySQLdb.OperationalError) as error:
            text = str(error)
            is_refused = isinstance(error, MySQLdb.ProgrammingError) or "denied" in text or "Unknown column" in text
            if not is_refused:
                raise
            self.error(f"removed query `{name}`: {text}")
            del self.queries[name]
            return False
        return True
