"""Stands for the module."""


class XMLSyntaxError(SyntaxError):
    pass
