"""Stands for what newer Pythons have no more."""
