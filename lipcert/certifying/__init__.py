"""Certifying a data set: the Python API's ``certify``."""

from lipcert.certifying.run import certify

__all__ = ["certify"]
