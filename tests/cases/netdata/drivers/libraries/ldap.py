"""In place of the client of a directory: a number for each question, more once the file `later` is there."""

import os

OPT_NETWORK_TIMEOUT, OPT_X_TLS_REQUIRE_CERT, OPT_X_TLS_NEVER, OPT_X_TLS_NEWCTX, VERSION3, SCOPE_BASE = range(6)


class LDAPError(Exception):
    """The server refuses."""


def initialize(url):
    return Connection()


class Connection:
    """What the module asks."""

    def __init__(self):
        self._names = []

    def set_option(self, option, value):
        pass

    def simple_bind(self, name, password):
        pass

    def unbind(self):
        pass

    def search(self, name, scope, text, attributes):
        self._names.append(name)
        return len(self._names) - 1

    def result(self, number, is_all):
        name = self._names[number]
        if "Unbind" in name:
            return 100, []
        text = b"none" if "Search" in name else b"%d" % (len(name) + 9 * os.path.exists(os.environ["LATER"]))
        return 101, [(name, {"monitorCounter": [text]})]
