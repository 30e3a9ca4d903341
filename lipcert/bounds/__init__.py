"""Lipschitz bounds: one method per file, registered in ``METHODS``."""

import lipcert.bounds.autolip
import lipcert.bounds.averaged
import lipcert.bounds.blocks
import lipcert.bounds.exact
import lipcert.bounds.lipsdp  # noqa: F401
from lipcert.bounds.context import BoundContext, Progress
from lipcert.bounds.lower import lower_bound
from lipcert.bounds.obstacles import Obstacle
from lipcert.bounds.result import METHODS, Constants, LipschitzBound

__all__ = [
    "METHODS",
    "BoundContext",
    "Constants",
    "LipschitzBound",
    "Obstacle",
    "Progress",
    "lower_bound",
]
