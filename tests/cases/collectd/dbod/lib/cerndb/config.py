"""Stands for CERN's settings: the instances are those of a file of the case."""

import os


def Config(module_name):
    """Returns the settings of a module."""
    api = {"cachefile": os.path.join(os.environ["CASE"], "entities.json"), "host": "", "entity_endpoint": ""}
    api.update(user="", password="", cluster_member_endpoint="")
    return {"api": api, "dbmon": {"user": "u", "password": "p"}, "influx2": {"client": ""}}
