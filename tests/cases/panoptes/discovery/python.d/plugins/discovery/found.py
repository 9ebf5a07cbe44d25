from yahoo_panoptes.discovery.panoptes_discovery_plugin import PanoptesDiscoveryPlugin
from yahoo_panoptes.framework.resources import PanoptesResource, PanoptesResourceSet


class Found(PanoptesDiscoveryPlugin):
    def run(self, context):
        found = PanoptesResourceSet()
        for site in context.sites:
            door = PanoptesResource(site, "building", "door", "generic", "door1", "door1.example.net", resource_plugin="found")
            door.add_metadata("keys", "3")
            found.add(door)
        return found
