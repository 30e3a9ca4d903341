"""Losses of one example by name: each with a proven Lipschitz constant and its function."""

from lipcert.sensitivities.losses import custom, distances, entropy, margins
from lipcert.sensitivities.losses.loss import LOSSES, Loss, make_loss, parse_loss

__all__ = [
    "LOSSES",
    "Loss",
    "custom",
    "distances",
    "entropy",
    "make_loss",
    "margins",
    "parse_loss",
]
