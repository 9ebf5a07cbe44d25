"""A plugin that does what all do."""

from __future__ import annotations

import collectd


def config(node: collectd.Config) -> None:
    for child in node.children:
        collectd.debug(f"{child.key} {child.values}")


def read() -> None:
    collectd.Values(type="gauge", plugin="sample", type_instance="one", values=[1.5]).dispatch()


collectd.register_config(config)
# Often enough that its connection stays open between two runs.
collectd.register_read(read, 1)
