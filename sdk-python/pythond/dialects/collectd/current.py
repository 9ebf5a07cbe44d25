"""The daemon that the module `collectd` of this process speaks to: one, as in collectd itself."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pythond.dialects.collectd.daemon import Daemon

_daemon: Daemon | None = None
_hears_forks = False


def attach(daemon: Daemon | None) -> None:
    """Has the module speak to this daemon from here on; None: to none."""
    global _daemon, _hears_forks
    _daemon = daemon
    if not _hears_forks and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)
        _hears_forks = True


def _forked() -> None:
    if _daemon is not None:
        _daemon.forked()


def attached() -> Daemon | None:
    return _daemon


def daemon() -> Daemon:
    """Returns the daemon. Raises `RuntimeError` where there is none: the module exists only inside one."""
    if _daemon is None:
        raise RuntimeError("the module `collectd` works only in plugins that pythond or collectd runs")
    return _daemon
