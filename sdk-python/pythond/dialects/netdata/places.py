"""Where modules and their configuration are: the folders of the input, an installation of netdata, or one file."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from pythond.dialects import Host
    from pythond.dialects.netdata.settings import Settings

SUFFIX = ".chart.py"
PYTHOND_CONF = "python.d.conf"
_STOCK = ("/usr/", "/opt/netdata/usr/")
# Not run from where they are installed: other collectors of netdata took their place.
_SKIPPED_STOCK = frozenset(
    str.split("apache_cache cpuidle cpufreq gunicorn_log linux_power_supply nginx_log mdstat sslcheck unbound")
)
# Libraries of an installation, no modules.
_NO_MODULES = "python_modules"


class ModuleFile:
    """A `*.chart.py`."""

    __slots__ = ("is_stock", "name", "path")

    def __init__(self, name: str, path: str, is_stock: bool) -> None:
        self.name = name
        self.path = path
        # Part of an installation, not written by the user.
        self.is_stock = is_stock


class Install:
    """An installation of netdata: what is there of it."""

    __slots__ = ("conf_stock", "conf_user", "looked", "modules", "plugins", "prefix")

    def __init__(self, prefix: str) -> None:
        """`prefix` is one, or `auto`; empty for none."""
        self.prefix = ""
        self.modules = self.conf_user = self.conf_stock = self.plugins = ""
        # Where it was looked for.
        self.looked: list[str] = []
        for one in ["/usr", "/opt/netdata"] if prefix == "auto" else [prefix] if prefix else []:
            if self._take(one.rstrip("/") or "/"):
                break

    def _take(self, prefix: str) -> bool:
        parts = [os.path.join(prefix, *one) for one in (("lib",), ("libexec",), ("usr", "lib"), ("usr", "libexec"))]
        folders = [os.path.join(one, "netdata", "python.d") for one in parts]
        self.modules = next((one for one in folders if os.path.isdir(one)), "")
        if not self.modules:
            self.looked += folders
            return False
        self.prefix = prefix
        self.plugins = os.path.join(os.path.dirname(self.modules), "plugins.d")
        self.conf_user = "/etc/netdata" if prefix == "/usr" else os.path.join(prefix, "etc", "netdata")
        stock = [os.path.join(one, "netdata", "conf.d") for one in parts]
        self.conf_stock = next((one for one in stock if os.path.isdir(one)), "")
        return True

    def third_party(self) -> str:
        """Returns the folder of the libraries that it ships for its modules; empty without."""
        return os.path.join(self.modules, _NO_MODULES, "third_party") if self.modules else ""


class Places:
    """The folders of an input."""

    def __init__(self, settings: Settings, roots: Sequence[str], host: Host, file: str = "") -> None:
        """`file` is the only module, where the command line names one; that of an installation has its settings."""
        self._host = host
        self._seen: dict[str, list[str]] = {}
        self.install = Install(settings.install or ("auto" if file and is_stock(file) else ""))
        self.dirs = [file] if file else _absolute(settings.dirs, roots)
        own = _absolute(settings.conf, roots)
        self.conf_user = [one for one in own if not is_stock(one)]
        self.conf_stock = [one for one in own if is_stock(one)]
        if self.install.modules:
            self.conf_user.append(self.install.conf_user)
            if self.install.conf_stock:
                self.conf_stock.append(self.install.conf_stock)
            if not file:
                self.dirs.append(self.install.modules)

    def is_stock(self, path: str) -> bool:
        """Says whether a file is netdata's own and not the user's."""
        if is_stock(path):
            return True
        own = (self.install.modules, self.install.conf_stock)
        return any(one and path.startswith(one.rstrip("/") + "/") for one in own)

    def modules(self) -> list[ModuleFile]:
        """Returns the modules, the first of each name."""
        found: dict[str, ModuleFile] = {}
        for entry in self.dirs:
            for path in self._files_of(entry):
                name = os.path.basename(path)[: -len(SUFFIX)]
                stock = self.is_stock(path)
                if name and not (stock and name in _SKIPPED_STOCK):
                    found.setdefault(name, ModuleFile(name, path, stock))
        return sorted(found.values(), key=lambda one: one.name)

    def _files_of(self, entry: str) -> list[str]:
        if entry.endswith(SUFFIX) and not os.path.isdir(entry):
            return [entry] if os.path.basename(entry) in self.names(os.path.dirname(entry)) else []
        files: list[str] = []
        folders: list[str] = []
        for name in sorted(self.names(entry)):
            path = os.path.join(entry, name)
            if os.path.isdir(path):
                if name != _NO_MODULES and not name.startswith((".", "__")):
                    folders.append(path)
            elif name.endswith(SUFFIX):
                files.append(path)
        for folder in folders:
            files += [os.path.join(folder, name) for name in sorted(self.names(folder)) if name.endswith(SUFFIX)]
        return files

    def names(self, folder: str) -> list[str]:
        """Returns the names in a folder, which is watched from now on."""
        if folder not in self._seen:
            self._seen[folder] = sorted(self._host.looks(folder))
        return self._seen[folder]

    def folders(self) -> list[str]:
        """Returns the folders of modules that are the user's own."""
        return [one for one in self.dirs if os.path.isdir(one) and not self.is_stock(one + "/x")]

    def pythond_confs(self) -> list[str]:
        """Returns the files `python.d.conf`: the stock one, then the user's."""
        found = []
        for folders in (self.conf_stock, self.conf_user):
            for folder in folders:
                if PYTHOND_CONF in self.names(folder):
                    found.append(os.path.join(folder, PYTHOND_CONF))
                    break
        return found

    def conf_of(self, module: ModuleFile) -> str:
        """Returns the configuration of a module; empty without."""
        name = f"{module.name}.conf"
        beside = os.path.dirname(module.path)
        user = [os.path.join(one, "python.d") for one in self.conf_user]
        stock = [os.path.join(one, "python.d") for one in self.conf_stock]
        for folder in [*user, beside, *stock]:
            if name in self.names(folder):
                return os.path.join(folder, name)
        return ""

    def looked(self) -> list[str]:
        """Returns where modules were looked for."""
        return list(dict.fromkeys(self.dirs + ([] if self.install.modules else self.install.looked)))


def is_stock(path: str) -> bool:
    """Says whether a path lies where systems install netdata."""
    return path.startswith(_STOCK)


def _absolute(entries: Sequence[str], roots: Sequence[str]) -> list[str]:
    """Returns the folders of entries, of each root for a relative one."""
    found: list[str] = []
    for entry in entries:
        if os.path.isabs(entry):
            found.append(entry)
        else:
            found += [os.path.join(root, entry) for root in roots]
    return list(dict.fromkeys(os.path.normpath(one) for one in found))
