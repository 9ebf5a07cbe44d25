"""Modules that ask over HTTP."""

from __future__ import annotations

import functools
from typing import Any

from bases.FrameworkServices.SimpleService import SimpleService
from pythond.dialects.netdata import optional, tls

urllib3: Any = optional.first_of("urllib3")

__all__ = ("UrlService",)


class UrlService(SimpleService):
    """Asks `url`; uses urllib3 where the interpreter has it, for modules catch its exceptions."""

    def __init__(self, configuration: dict[str, Any], name: Any = None) -> None:
        SimpleService.__init__(self, configuration=configuration, name=name)
        given = self.configuration.get
        self.url: Any = given("url")
        self.user: Any = given("user")
        self.password: Any = given("pass")
        self.proxy_user: Any = given("proxy_user")
        self.proxy_password: Any = given("proxy_pass")
        self.proxy_url: Any = given("proxy_url")
        self.method: Any = given("method", "GET")
        self.header: Any = given("header")
        self.body: Any = given("body")
        self.request_timeout: Any = given("timeout", 1)
        self.respect_retry_after_header: Any = given("respect_retry_after_header")
        self.tls_verify: Any = given("tls_verify")
        self.tls_ca_file: Any = given("tls_ca_file")
        self.tls_key_file: Any = given("tls_key_file")
        self.tls_cert_file: Any = given("tls_cert_file")
        self._manager: Any = None

    def check(self) -> Any:
        """Says whether the url gives data."""
        if not (self.url and isinstance(self.url, str)):
            self.error("URL is not defined or type is not <str>")
            return False
        self._manager = self._build_manager()
        if not self._manager:
            return False
        try:
            data = self._get_data()
        except Exception as error:
            self.error(f"_get_data() failed. Url: {self.url}. Error: {error}")
            return False
        self._pythond_link.data = data
        if isinstance(data, dict) and data:
            return True
        self.debug(f"_get_data() returned no data or type is not <dict>. Url: {self.url}")
        return False

    def _build_manager(self, **kwargs: Any) -> Any:
        """Returns what requests go through, None where it cannot be made.

        `url user pass proxy_user proxy_pass proxy_url header` override the attributes.
        """
        user, password = kwargs.get("user", self.user), kwargs.get("pass", self.password)
        proxy_user = kwargs.get("proxy_user", self.proxy_user)
        proxy_password = kwargs.get("proxy_pass", self.proxy_password)
        proxy_url = kwargs.get("proxy_url", self.proxy_url)
        make = (urllib3 or _own_pool()).make_headers
        try:
            headers = make(keep_alive=True, basic_auth=_pair(user, password))
            headers.update(kwargs.get("header", self.header) or {})
            proxy_headers = make(proxy_basic_auth=_pair(proxy_user, proxy_password))
            return self.__new_manager(headers, proxy_url, proxy_headers)
        except Exception as error:
            self.error("build_manager() error:", str(error))
            return None

    def __new_manager(self, headers: Any, proxy_url: Any, proxy_headers: Any) -> Any:
        is_verified = bool(self.tls_ca_file or self.tls_verify)
        if urllib3 is None:
            files = self.tls_ca_file, self.tls_cert_file, self.tls_key_file
            context = functools.partial(tls.context, is_verified, *files)
            return _own_pool().PoolManager(headers, self.request_timeout, context, proxy_url, proxy_headers)
        params: dict[str, Any] = {"num_pools": 10, "maxsize": 1, "headers": headers}
        params["cert_reqs"] = "CERT_REQUIRED" if is_verified else "CERT_NONE"
        if not is_verified:
            urllib3.disable_warnings()
        for key, value in (
            ("ca_certs", self.tls_ca_file),
            ("cert_file", self.tls_cert_file),
            ("key_file", self.tls_key_file),
        ):
            if value:
                params[key] = value
        if proxy_url:
            return urllib3.ProxyManager(proxy_url, proxy_headers=proxy_headers, **params)
        return urllib3.PoolManager(**params)

    def _get_raw_data(self, url: Any = None, manager: Any = None, **kwargs: Any) -> Any:
        """Returns the text of an answer 200, None for any other and where there is none."""
        try:
            status, text = self._get_raw_data_with_status(url, manager, **kwargs)
        except Exception as error:
            self.error(f"Url: {url or self.url}. Error: {error}")
            return None
        if status == 200:
            return text
        self.debug(f"Url: {url or self.url}. Http response status code: {status}")
        self._pythond_last_error = f"{url or self.url} answered {status}"
        return None

    def _get_raw_data_with_status(
        self, url: Any = None, manager: Any = None, retries: Any = 1, redirect: bool = True, **kwargs: Any
    ) -> tuple[int, Any]:
        """Returns the status and text of an answer; what is raised passes."""
        response = self._do_request(url, manager, retries, redirect, **kwargs)
        data = response.data
        return response.status, data.decode("utf-8", "ignore") if isinstance(data, bytes) else data

    def _do_request(
        self, url: Any = None, manager: Any = None, retries: Any = 1, redirect: bool = True, **kwargs: Any
    ) -> Any:
        """Returns an answer; what is raised passes. One retry in all, of which a redirect is one."""
        if not (manager or self._manager):
            # A module with a `check` of its own may not have made one.
            self._manager = self._build_manager()
        manager = manager or self._manager
        if self.body is not None:
            kwargs.setdefault("body", self.body)
        kwargs.setdefault("timeout", self.request_timeout)
        if urllib3 is not None and isinstance(manager, urllib3.PoolManager):
            if isinstance(retries, int) and not isinstance(retries, bool):
                is_patient = bool(self.respect_retry_after_header)
                retries = urllib3.Retry(retries, respect_retry_after_header=is_patient)
        elif self.respect_retry_after_header:
            kwargs["respect_retry_after_header"] = True
        return manager.request(self.method, url or self.url, retries=retries, redirect=redirect, **kwargs)


def _own_pool() -> Any:
    """Returns what stands in for urllib3; loaded where that is not there only."""
    from pythond.dialects.netdata import http_pool

    return http_pool


def _pair(user: Any, password: Any) -> str | None:
    return f"{user}:{password}" if user and password else None
