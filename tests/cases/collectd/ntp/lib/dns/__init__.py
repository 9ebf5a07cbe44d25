"""Stands for dnspython."""
