"""Discovers the resources of a JSON file, `config_file` in the section `main` of the info file.

The original ships a plugin of this name; this one takes its place where an info file still names a path in the
original's package.
"""

from __future__ import annotations

import json
import os

from yahoo_panoptes.discovery.panoptes_discovery_plugin import PanoptesDiscoveryPlugin, PanoptesDiscoveryPluginError
from yahoo_panoptes.framework.resources import PanoptesResource, PanoptesResourceSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PluginDiscoveryJSONFile(PanoptesDiscoveryPlugin):
    """Reads the file anew with each run."""

    def run(self, context: Any) -> PanoptesResourceSet:
        """Raises `PanoptesDiscoveryPluginError` where there is no resource to be had."""
        path = context.config["main"].get("config_file")
        if not path:
            raise PanoptesDiscoveryPluginError("no `config_file` in the section `main`")
        # `plugin_folder`: beside the info file, which need not lie beside this module.
        path = os.path.join(getattr(context, "plugin_folder", os.path.dirname(__file__)), path)
        try:
            with open(path, encoding="utf-8") as file:
                entries = json.load(file)
        except (OSError, ValueError) as error:
            raise PanoptesDiscoveryPluginError(f"cannot read {path}: {error}") from error
        if not isinstance(entries, list):
            raise PanoptesDiscoveryPluginError(f"{path} must hold a list of resources, not {type(entries).__name__}")
        resources = PanoptesResourceSet()
        for index, entry in enumerate(entries):
            try:
                resources.add(PanoptesResource.resource_from_dict(entry))
            except Exception as error:
                context.logger.warning(f"{path}: entry {index} is left out: {type(error).__name__}: {error}")
        if not len(resources):
            raise PanoptesDiscoveryPluginError(f"no entry of {path} is a resource")
        return resources
