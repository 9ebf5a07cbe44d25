"""The monotonic clock, which every Python has by now."""

from time import monotonic

__all__ = ("monotonic",)
