"""Stands for what newer Pythons have no more."""


class StrictVersion(str):
    """Nobody compares it here."""
