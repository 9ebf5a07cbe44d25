"""In place of the client of a queue server: two tubes, and a third one once the file `later` is there."""

import os


class SocketError(Exception):
    """The server is gone."""


class Connection:
    """What the module asks; answers are read as YAML, as the real one does."""

    def __init__(self, host, port, connect_timeout, parse_yaml):
        self._read = parse_yaml
        self._begun = False

    def reconnect(self):
        pass

    def stats(self):
        late = os.path.exists(os.environ["LATER"])
        if late and not self._begun:
            self._begun = True
            raise SocketError("gone for one run")
        text = "---\ncmd-put: 10\ncmd-reserve: 5\ntotal-jobs: 12\nrusage-utime: 0.5\nrusage-stime: 1.75\n"
        return self._read(text + "version: 1.10\ncurrent-connections: %d\nuptime: 77\nbinlog-records-written: 3\n" % (3 + late))

    def tubes(self):
        names = "---\n- default\n- mails\n"
        return self._read(names + "- late\n" if os.path.exists(os.environ["LATER"]) else names)

    def stats_tube(self, tube):
        return self._read("---\nname: %s\ntotal-jobs: 7\ncurrent-jobs-ready: 2\ncurrent-using: 1\npause: 0\n" % tube)
