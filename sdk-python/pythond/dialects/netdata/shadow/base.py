"""The names that modules from before 2018 import; the newer ones have the same classes in `bases`."""

from __future__ import annotations

from bases.FrameworkServices.ExecutableService import ExecutableService
from bases.FrameworkServices.LogService import LogService
from bases.FrameworkServices.MySQLService import MySQLService
from bases.FrameworkServices.SimpleService import SimpleService
from bases.FrameworkServices.SocketService import SocketService
from bases.FrameworkServices.UrlService import UrlService

__all__ = ("ExecutableService", "LogService", "MySQLService", "SimpleService", "SocketService", "UrlService")
