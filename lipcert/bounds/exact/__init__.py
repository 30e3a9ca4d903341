"""The Lipschitz constant itself, where it is to be had for little: the method "exact"."""

from lipcert.bounds.exact.constant import exact_constant

__all__ = ["exact_constant"]
