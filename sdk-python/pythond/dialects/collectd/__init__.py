"""collectd's dialect: plugins written for collectd's `python` plugin, with the collectd.conf that their user has.

settings   what an input has: `include` reads the files, `grammar` their form, `data_sets` types.db
listing    its units, by what `isolation` finds out about each import
plugins    runs the statements of `<Plugin python>`
daemon     what stands behind the module `collectd` (`shadow`, `classes`, `functions`): callbacks and values
mapping    value lists → rows, notifications → events
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pythond.dialects import Host, Listing, Unit

_HERE = os.path.dirname(os.path.abspath(__file__))
PATH_FIRST = (os.path.join(_HERE, "shadow"),)
PATH_LAST = ()
SAMPLE = os.path.join(_HERE, "sample", "sample.py")


def list(given: Unit, host: Host) -> Listing:
    """Tells the units of a collectd.conf, or of `modules`; loads all plugins in a throw-away child. Of a file: itself.

    Raises `loader.Failure` where there is nothing to read.
    """
    from pythond.dialects.collectd import listing

    if given.file.endswith(".py") and os.path.isfile(given.file):
        return listing.of_file(given, host)
    return listing.listing(given, host)


def load(unit: Unit, host: Host) -> None:
    """Imports and configures the plugins of a unit and calls their init callbacks. Raises `loader.Failure`."""
    from pythond.dialects.collectd import units

    units.load(unit, host)


def close(host: Host) -> None:
    """Writes out what was dispatched, then calls the flush and the shutdown callbacks."""
    from pythond.dialects.collectd import units

    units.close(host)


def forget() -> None:
    """Has the module `collectd` speak to no daemon any more."""
    from pythond.dialects.collectd import units

    units.forget()
