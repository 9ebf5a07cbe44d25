"""Modules that talk over a socket: TCP, UDP, Unix."""

from __future__ import annotations

import codecs
import select
import socket
from typing import Any

from bases.FrameworkServices.SimpleService import SimpleService
from pythond.dialects.netdata import tls

__all__ = ("SocketService",)

_BYTES = 4096


class SocketService(SimpleService):
    """Sends `request` and reads until `_check_raw_data` is content."""

    def __init__(self, configuration: dict[str, Any], name: Any = None) -> None:
        self._sock: Any = None
        self._keep_alive = False
        self.host: Any = "localhost"
        self.port: Any = None
        self.unix_socket: Any = None
        self.dgram_socket = False
        self.request: Any = ""
        self.tls: Any = False
        self.cert: Any = None
        self.key: Any = None
        # Of which host and port, and the address that was connected last: tried alone until it fails.
        self.__address: Any = None
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.connect_timeout: Any = 2.0
        self.read_timeout: Any = 2.0
        self.write_timeout: Any = 2.0

    def check(self) -> Any:
        """Reads the settings of the connection and says whether there is data."""
        self._parse_config()
        return SimpleService.check(self)

    def _parse_config(self) -> None:
        """Takes the connection's settings and the request out of the configuration. Raises `ValueError`."""
        given = self.configuration
        if given.get("socket"):
            self.unix_socket = str(given["socket"])
        else:
            # Also where the module has set one: its jobs over TCP have none.
            self.unix_socket = None
            self.host = str(given.get("host") or self.host or "localhost")
            if given.get("port") is not None:
                try:
                    self.port = int(given["port"])
                except (TypeError, ValueError) as error:
                    raise ValueError(f"`port` is {given['port']!r}; it must be a number") from error
            self.tls = bool(given.get("tls", self.tls))
            self.key = given.get("tls_key_file") or self.key
            self.cert = given.get("tls_cert_file") or self.cert
        if "request" in given:
            self.request = given["request"]
        if not isinstance(self.request, bytes):
            self.request = str(self.request).encode()

    # --- the connection ---

    def _connect(self) -> None:
        """Connects; `_sock` stays None where that fails."""
        try:
            if self.unix_socket is not None:
                self.__connect_unix()
            else:
                self.__connect_any()
        except Exception as error:
            self.error("unhandled exception during connect :", repr(error))
            self._disconnect()

    def __connect_unix(self) -> None:
        failure: OSError | None = None
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(socket.AF_UNIX, kind)
            sock.settimeout(self.connect_timeout)
            try:
                sock.connect(self.unix_socket)
            except OSError as error:
                sock.close()
                failure = error
            else:
                self._sock = sock
                return
        self.error(f'Failed to connect to socket "{self.unix_socket}", error: {failure}')

    def __connect_any(self) -> None:
        if self.__address is not None and self.__address[0] == (self.host, self.port):
            if self.__connect_to(self.__address[1]):
                return
            self.__address = None
        kind = socket.SOCK_DGRAM if self.dgram_socket else socket.SOCK_STREAM
        for address in socket.getaddrinfo(self.host, self.port, socket.AF_UNSPEC, kind):
            if self.__connect_to(address):
                self.__address = ((self.host, self.port), address)
                return

    def __connect_to(self, address: Any) -> bool:
        family, kind, proto, _, place = address
        sock: Any = None
        try:
            sock = socket.socket(family, kind, proto)
            sock.settimeout(self.connect_timeout)
            sock.connect(place)
            if self.tls and kind == socket.SOCK_STREAM:
                context = tls.context(cert_file=self.cert, key_file=self.key)
                sock = context.wrap_socket(sock, server_hostname=self.host)
        except OSError as error:
            if sock is not None:
                sock.close()
            self.error(f'Failed to connect to "{place[0]}", port {place[1]}, error: {error}')
            return False
        self._sock = sock
        return True

    def _disconnect(self) -> None:
        """Closes the connection."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The other end has closed it already.
            pass
        sock.close()

    def _socket_error(self, message: Any = None) -> None:
        """Logs what is wrong with the connection."""
        if self.unix_socket is not None:
            self.error(f'unix socket "{self.unix_socket}":', message)
        else:
            self.error(f'socket to "{self.host}", port {self.port}:', message)

    def __is_closed(self) -> bool:
        """Says whether the other end of a connection that was kept has closed it."""
        if self.dgram_socket or not hasattr(self._sock, "recv"):
            return False
        try:
            if not select.select([self._sock], [], [], 0)[0]:
                return False
            if self.tls:
                return False
            return not self._sock.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    # --- the talk ---

    def _send(self, request: Any = None) -> bool:
        """Sends the request, if there is one; says whether that went well."""
        request = request or self.request
        if not request:
            return True
        try:
            self._sock.settimeout(self.write_timeout)
            self._sock.sendall(request if isinstance(request, bytes) else str(request).encode())
        except Exception as error:
            self._socket_error(f"error sending request: {error}")
            self._disconnect()
            return False
        return True

    def _receive(self, raw: bool = False) -> Any:
        """Returns what was received when `_check_raw_data` was content, or when nothing more came."""
        data: Any = b"" if raw else ""
        decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        while True:
            try:
                self._sock.settimeout(self.read_timeout)
                got = self._sock.recv(_BYTES)
            except Exception as error:
                self._socket_error(f"error receiving response: {error}")
                self._disconnect()
                return data
            if not got:
                if not data:
                    self._socket_error("unexpectedly disconnected")
                self._disconnect()
                return data
            data += got if raw else decoder.decode(got)
            if self._check_raw_data(data):
                return data

    def _get_raw_data(self, raw: bool = False, request: Any = None) -> Any:
        """Returns what the other end answered, as text or bytes; None without a connection."""
        if self._sock is not None and self.__is_closed():
            self._disconnect()
        if self._sock is None:
            self._connect()
            if self._sock is None:
                return None
        if not self._send(request):
            return None
        data = self._receive(raw)
        if not self._keep_alive:
            self._disconnect()
        return data

    @staticmethod
    def _check_raw_data(data: Any) -> bool:
        """Says whether the data is complete; for the module to define."""
        return bool(data)
