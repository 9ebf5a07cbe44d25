"""In place of the client of a Docker daemon: three containers, four once the file `later` is there."""

import os
import types

__version__ = "4.1.0"


class APIError(Exception):
    """The daemon does not answer."""


errors = types.SimpleNamespace(APIError=APIError)


class DockerClient:
    """What the module asks."""

    def __init__(self, base_url):
        self.containers = self

    def ping(self):
        return True

    def list(self, filters=None, sparse=False):
        late = os.path.exists(os.environ["LATER"])
        return [None] * ({"healthy": 1, "unhealthy": 0}[filters["health"]] if filters else 3 + late)
