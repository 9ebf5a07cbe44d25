"""Stands for the module: a far end that writes down what it gets, and knows nothing at first."""
import json
import os

from gnocchiclient import exceptions


class Client:
    def __init__(self, version, session, adapter_options):
        assert (version, adapter_options["endpoint_override"]) == (1, "http://127.0.0.1:1/")
        self.resource = self.resource_type = self.metric = self
        self._known = set()

    def create(self, first, attributes=None):
        self._say("create", first, attributes)
        if attributes is not None:
            if "type" not in self._known:
                raise exceptions.ResourceTypeNotFound()
            self._known.add(attributes["id"])
        else:
            self._known.add("type")

    def batch_resources_metrics_measures(self, measures, create_metrics):
        if not self._known.issuperset(measures):
            raise exceptions.BadRequest()
        self._say("batch", measures, create_metrics)

    def _say(self, *words):
        with open(os.environ["DIR"] + "/out.txt", "a") as out:
            out.write(json.dumps(words, sort_keys=True) + "\n")
