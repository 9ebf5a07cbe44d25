"""What a query may raise."""


class DNSException(Exception):
    """No answer."""
