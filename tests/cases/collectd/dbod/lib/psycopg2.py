"""Stands for psycopg2, which nobody calls here."""
