"""Stands for the NTP client: two servers answer, the third does not."""


class NTPException(Exception):
    """No answer."""


class _Answer:
    offset = 0.25


class NTPClient:
    """Asks no one."""

    def request(self, server):
        """Returns an answer."""
        if server == "192.0.2.3":
            raise NTPException("no answer")
        return _Answer()
