"""Dictionaries with an order, which every Python has by now."""

from collections import OrderedDict

__all__ = ("OrderedDict",)
