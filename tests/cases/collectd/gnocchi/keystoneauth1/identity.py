"""Stands for the module."""
