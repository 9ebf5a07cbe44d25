"""Stands for the package: attributes that never change."""
import os


def getxattr(path, name):
    return {"user.fqrn": b"x", "user.pid": str(os.getpid()).encode(), "user.nfiles": b"42"}[name]
