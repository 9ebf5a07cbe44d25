"""Stands for CERN's settings."""
