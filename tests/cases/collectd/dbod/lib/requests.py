"""Stands for requests, which nobody calls here."""
