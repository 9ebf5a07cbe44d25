from yahoo_panoptes.enrichment.enrichment_plugin import PanoptesEnrichmentPlugin
from yahoo_panoptes.enrichment.schema.heartbeat import PanoptesHeartbeatEnrichmentGroup
from yahoo_panoptes.framework.enrichment import PanoptesEnrichmentGroupSet, PanoptesEnrichmentSet


class Heartbeat(PanoptesEnrichmentPlugin):
    def run(self, context):
        main = context.config["main"]
        group = PanoptesHeartbeatEnrichmentGroup(int(main["enrichment_ttl"]), int(main["execute_frequency"]))
        group.add_enrichment_set(PanoptesEnrichmentSet("agent", {"timestamp": 1.5}))
        found = PanoptesEnrichmentGroupSet(context.data)
        found.add_enrichment_group(group)
        return found
