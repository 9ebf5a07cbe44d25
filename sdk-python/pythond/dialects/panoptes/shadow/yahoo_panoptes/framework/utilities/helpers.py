"""Small functions that plugins use."""

from __future__ import annotations

import io
import os
import re
import socket
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor, wait

from ..exceptions import PanoptesBaseException
from ..validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

_MOST_LOOKUPS = 32


class PanoptesConfigurationParsingError(PanoptesBaseException):
    """A configuration file cannot be read."""


def is_python_2() -> bool:
    return False


def normalize_plugin_name(plugin_name: str) -> str:
    """Returns a name of ASCII letters, digits and `_` only; `_` is doubled."""
    assert PanoptesValidators.valid_nonempty_string(plugin_name), "plugin_name must be a non-empty str"
    return re.sub(r"[^a-zA-Z0-9_]", "_", plugin_name.replace("_", "__"))


def get_module_mtime(module_path: str) -> int:
    """Returns when a file was last changed, 0 where there is none; for a folder, its newest file."""
    assert PanoptesValidators.valid_nonempty_string(module_path), "module_path must be a non-empty str"
    if not os.path.exists(module_path) and os.path.isfile(module_path + ".py"):
        module_path += ".py"
    paths = [module_path]
    if os.path.isdir(module_path):
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(module_path) for name in names] or paths
    times = []
    for path in paths:
        try:
            times.append(int(os.path.getmtime(path)))
        except OSError:
            continue
    return max(times, default=0)


def resolve_hostnames(hostnames: list[str], timeout: int) -> list[tuple[str, str | None]]:
    """Returns the IPv4 address of each name, None for those that are not known within so many seconds."""
    assert PanoptesValidators.valid_nonempty_iterable_of_strings(hostnames), "hostnames should be a list"
    assert PanoptesValidators.valid_nonzero_integer(timeout), "timeout should be an int greater than zero"
    found = _looked_up(socket.gethostbyname, hostnames, timeout)
    return [(hostname, found.get(hostname)) for hostname in hostnames]


def unknown_hostname(ip: str) -> str:
    """Returns the name of an address that has none."""
    return "unknown-" + re.sub(r"[.:]", "-", ip)


def get_hostnames(ips: list[str], timeout: int) -> dict[str, str]:
    """Returns the names of addresses, `unknown-…` for those that are not known within so many seconds."""
    assert PanoptesValidators.valid_nonempty_iterable_of_strings(ips), "ips should be a list"
    assert PanoptesValidators.valid_nonzero_integer(timeout), "timeout should be an int greater than zero"
    found = _looked_up(lambda ip: socket.gethostbyaddr(ip)[0], ips, timeout)
    return {ip: found.get(ip) or unknown_hostname(ip) for ip in ips}


def _looked_up(look: Callable[[str], str], names: Sequence[str], timeout: int) -> dict[str, str]:
    pool = ThreadPoolExecutor(max_workers=min(len(names), _MOST_LOOKUPS))
    looks = {name: pool.submit(look, name) for name in dict.fromkeys(names)}
    done, _ = wait(looks.values(), timeout=timeout)
    # Those that still look are left alone: nobody can end them.
    pool.shutdown(wait=False)
    return {name: job.result() for name, job in looks.items() if job in done and job.exception() is None}


def get_ip_version(ip: str) -> int:
    """Returns 4 or 6. Raises `ValueError` for what is no address."""
    for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        try:
            socket.inet_pton(family, ip)
            return version
        except OSError:
            continue
    raise ValueError(ip)


def get_hostname() -> str:
    return socket.gethostname()


def get_os_tid() -> int:
    """Returns the system's number of this thread."""
    return threading.get_native_id()


def get_calling_module_name(depth: int = 3) -> str:
    """Returns the name of the module that called, so many calls up."""
    assert isinstance(depth, int), "depth should be an int"
    return str(sys._getframe(depth).f_globals.get("__name__", ""))


def inspect_calling_module_for_name(name: str) -> bool:
    """Says whether the module that calls has a global of this name."""
    return name in sys._getframe(1).f_globals


def get_client_id(prefix: str) -> str:
    return f"{uuid.uuid4()}_{prefix}_{get_hostname()}_{os.getpid()}"


class _Capture(list):  # type: ignore[type-arg]  # a `list[str]` cannot be inherited on Python 3.8
    """The lines that were written to a stream of `sys` meanwhile, of all threads."""

    _name = ""

    def __enter__(self) -> _Capture:
        self._before = getattr(sys, self._name)
        self._written = io.StringIO()
        setattr(sys, self._name, self._written)
        return self

    def __exit__(self, *args: Any) -> None:
        setattr(sys, self._name, self._before)
        self.extend(self._written.getvalue().splitlines())


class CaptureStdOut(_Capture):
    """The lines that were printed meanwhile."""

    _name = "stdout"


class CaptureStdErr(_Capture):
    """The lines that were written to stderr meanwhile."""

    _name = "stderr"


def convert_kv_str_to_dict(
    kv: str, prefix: str, kv_delimiter: str = "|", prefix_delimiter: str = "_"
) -> dict[str, str]:
    """Returns the pairs of `key|value|key|value` with the prefix before each key; none where there are no pairs."""
    for name, value in (
        ("kv", kv),
        ("prefix", prefix),
        ("kv_delimiter", kv_delimiter),
        ("prefix_delimiter", prefix_delimiter),
    ):
        assert PanoptesValidators.valid_nonempty_string(value), f"{name} must be a non-empty string"
    parts = kv.split(kv_delimiter)
    if len(parts) % 2:
        return {}
    return {f"{prefix}{prefix_delimiter}{key}": value for key, value in zip(parts[::2], parts[1::2])}


def convert_celsius_to_fahrenheit(celsius: float) -> float:
    return round(celsius * 1.8 + 32, 2)


def ordered(obj: Any) -> Any:
    """Returns dicts and lists in an order of their own, at any depth, so that equal ones compare equal."""
    if isinstance(obj, dict):
        return sorted((key, ordered(value)) for key, value in obj.items())
    if isinstance(obj, list):
        return sorted(ordered(one) for one in obj)
    return obj


def transform_index_ipv6_address(ipv6_str: str) -> str:
    """Returns the address of an SNMP index of 16 numbers; what follows them does not count."""
    numbers = [int(one) for one in ipv6_str.split(".")[:16]]
    return socket.inet_ntop(socket.AF_INET6, bytes(numbers))


def transform_octet_to_mac(octet_string: str | bytes) -> str:
    octets = octet_string if isinstance(octet_string, bytes) else map(ord, octet_string)
    return ":".join(f"{one:02X}" for one in octets)


def transform_dotted_decimal_to_mac(dotted_decimal_mac: str) -> str:
    return ":".join(f"{int(one):02X}" for one in dotted_decimal_mac.split("."))


def convert_netmask_to_cidr(netmask: str) -> int:
    """Returns how many bits of a netmask are set."""
    return sum(bin(int(one)).count("1") for one in netmask.split("."))
