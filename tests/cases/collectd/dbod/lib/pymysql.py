"""Stands for pymysql, which nobody calls here."""
