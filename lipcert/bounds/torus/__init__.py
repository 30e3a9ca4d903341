"""LipSDP of convolutional parts on the torus: one small matrix inequality per frequency."""

from lipcert.bounds.torus.method import torus_lipsdp

__all__ = ["torus_lipsdp"]
