"""What a module finds around it: the environment of netdata's plugins, and our modules under netdata's names."""

from __future__ import annotations

import importlib.machinery
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from pythond.dialects import Host
    from pythond.dialects.netdata.places import Places

SHADOW = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shadow")
# Found here, whatever else has these names.
NAMES = ("bases", "base", "third_party", "msg")
_SBIN = ("/usr/sbin", "/sbin")


def arrange(places: Places, update_every: float, host: Host) -> None:
    """Makes netdata's names and environment known to this process."""
    find_ours()
    install = places.install
    os.environ.update(
        NETDATA_UPDATE_EVERY=f"{update_every:g}",
        NETDATA_USER_CONFIG_DIR=(places.conf_user or ["/etc/netdata"])[0],
        NETDATA_STOCK_CONFIG_DIR=(places.conf_stock or ["/usr/lib/netdata/conf.d"])[0],
        NETDATA_PLUGINS_DIR=install.plugins or "/usr/lib/netdata/plugins.d",
        NETDATA_LIB_DIR=host.state_dir,
        NETDATA_HOSTNAME=host.hostname,
        LC_ALL="C",
        PYTHONUNBUFFERED="1",
        PATH=_path(os.environ.get("PATH", "")),
    )
    extras = install.third_party()
    if extras and os.path.isdir(extras):
        import third_party

        if extras not in third_party.__path__:
            # Behind ours.
            third_party.__path__.append(extras)


def _path(path: str) -> str:
    folders = [folder for folder in path.split(os.pathsep) if folder]
    return os.pathsep.join(folders + [folder for folder in _SBIN if folder not in folders])


class _Ours:
    """Finds our modules before anybody else's of the same name."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name not in NAMES:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [SHADOW])


_ours = _Ours()


def find_ours() -> None:
    """Has `bases` and its like be ours from now on, and forgets others that were imported."""
    if _ours not in sys.meta_path:
        sys.meta_path.insert(0, _ours)
    for name in NAMES:
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        if name in sys.modules and not file.startswith(SHADOW + os.sep):
            for one in [one for one in sys.modules if one == name or one.startswith(name + ".")]:
                del sys.modules[one]


def forget() -> None:
    """Undoes `find_ours`."""
    if _ours in sys.meta_path:
        sys.meta_path.remove(_ours)
