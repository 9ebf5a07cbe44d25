"""HTTP for modules where the interpreter has no urllib3: what they use of its pool managers, over `http.client`.

One retry in all, of which a redirect is one, as urllib3 does it when it is told so.
"""

from __future__ import annotations

import base64
import http.client
import socket
import threading
import time
from urllib.parse import quote, urljoin, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any, Callable, Mapping
    from urllib.parse import SplitResult

    Key = tuple[str, str, int]

_UNQUOTED = "%/:=&?~#+!$,;'@()*[]"
_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (413, 429, 503)


class HTTPError(Exception):
    """A request that got no answer."""


class MaxRetryError(HTTPError):
    """A request that got none after it was tried again, or too many redirects."""


class Response:
    """An answer, read to its end."""

    def __init__(self, status: int, data: bytes, headers: Any, reason: str) -> None:
        self.status = status
        self.data = data
        self.headers = headers
        self.reason = reason

    def getheader(self, name: str, default: str | None = None) -> str | None:
        found: str | None = self.headers.get(name, default)
        return found


def make_headers(
    keep_alive: bool | None = None, basic_auth: str | None = None, proxy_basic_auth: str | None = None
) -> dict[str, str]:
    """Returns headers, `basic_auth` being `user:password`."""
    headers = {"connection": "keep-alive"} if keep_alive else {}
    for name, value in (("authorization", basic_auth), ("proxy-authorization", proxy_basic_auth)):
        if value:
            headers[name] = "Basic " + base64.b64encode(value.encode("latin-1", "replace")).decode()
    return headers


class PoolManager:
    """Keeps a connection to each server."""

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        proxy_url: str | None = None,
        proxy_headers: Mapping[str, str] | None = None,
    ) -> None:
        """`tls` makes the context of the first https connection. Raises `ValueError` for a proxy without a scheme."""
        if proxy_url and urlsplit(proxy_url).scheme not in ("http", "https"):
            raise ValueError("Proxy URL had no scheme, should start with http:// or https://")
        self.headers = dict(headers or {})
        self._timeout = timeout
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._proxy = urlsplit(proxy_url) if proxy_url else None
        self._proxy_headers = dict(proxy_headers or {})
        self._lock = threading.Lock()
        self._connections: dict[Key, http.client.HTTPConnection] = {}

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        retries: int = 1,
        redirect: bool = True,
        respect_retry_after_header: bool = False,
        **more: Any,
    ) -> Response:
        """Sends a request and reads the answer; `retries` False gives a redirect as it is. Raises `MaxRetryError`."""
        method = method.upper()
        redirect = redirect and retries is not False
        sent = self.headers if headers is None else headers
        timeout = self._timeout if timeout is None else timeout
        while True:
            try:
                response = self._once(method, url, body, sent, timeout)
            except (OSError, http.client.HTTPException) as error:
                if retries <= 0:
                    parts = _split(url)
                    where = f"host='{parts.hostname}', port={_port(parts)}"
                    text = f"({where}): Max retries exceeded with url: {_target(parts)} ({error})"
                    raise MaxRetryError(f"HTTPConnectionPool{text}") from error
                retries -= 1
                continue
            place = response.headers.get("location") if response.status in _REDIRECTS else None
            wait = response.headers.get("retry-after") if response.status in _LATER else None
            if redirect and place:
                if retries <= 0:
                    raise MaxRetryError(f"too many redirects: {url}")
                if response.status == 303:
                    method, body = "GET", None
                url = urljoin(url, place)
            elif respect_retry_after_header and wait and wait.isdigit() and retries > 0:
                time.sleep(int(wait))
            else:
                return response
            retries -= 1

    def _once(self, method: str, url: str, body: Any, headers: Mapping[str, str], timeout: float | None) -> Response:
        parts = _split(url)
        key = (parts.scheme, parts.hostname or "", _port(parts))
        sent = {"user-agent": "python-urllib3/0", **{name.lower(): value for name, value in headers.items()}}
        target = _target(parts)
        if self._proxy is not None and parts.scheme == "http":
            target = f"http://{parts.netloc}{target}"
            sent = {"accept": "*/*", **self._proxy_headers, **sent}
        with self._lock:
            connection = self._connections.pop(key, None)
        if connection is not None and connection.sock is not None:
            connection.sock.settimeout(timeout)
            try:
                return self._ask(connection, key, method, target, body, sent)
            except (OSError, http.client.HTTPException):
                # The server has closed what was kept: no attempt of ours.
                connection.close()
        return self._ask(self._open(parts, key, timeout), key, method, target, body, sent)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        key: Key,
        method: str,
        target: str,
        body: Any,
        headers: Mapping[str, str],
    ) -> Response:
        try:
            connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            data = _decoded(answer.read(), answer.msg.get("content-encoding", ""))
            response = Response(answer.status, data, answer.msg, answer.reason)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._connections[key] = connection
        return response

    def _open(self, parts: SplitResult, key: Key, timeout: float | None) -> http.client.HTTPConnection:
        scheme, host, port = key
        end = self._proxy or parts
        address = end.hostname or "", _port(end)
        limit: Any = socket.getdefaulttimeout() if timeout is None else timeout
        if scheme != "https":
            return http.client.HTTPConnection(*address, timeout=limit)
        if self._tls is not None and self._context is None:
            self._context = self._tls()
        connection = http.client.HTTPSConnection(*address, timeout=limit, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(host, port, self._proxy_headers)
        return connection

    def clear(self) -> None:
        """Closes all connections."""
        with self._lock:
            connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.close()


def _decoded(data: bytes, encoding: str) -> bytes:
    """Returns what was packed; as it is where nobody knows how. Raises `HTTPException` for what is broken."""
    if not data or encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        return data
    import zlib

    # 32: looks by itself whether there is a head of gzip or zlib; some send `deflate` without one.
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return zlib.decompress(data, bits)
        except zlib.error as error:
            failure = error
    raise http.client.HTTPException(f"Received response with content-encoding: {encoding}, but {failure}")


def _split(url: str) -> SplitResult:
    return urlsplit(url if "://" in url else f"http://{url}")


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_UNQUOTED)
    return f"{path}?{quote(parts.query, safe=_UNQUOTED)}" if parts.query else path
