"""Balls of perturbations: sizes, projections and steepest directions, for each norm attacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lipcert.rounding import gamma
from lipcert.spectral.tensors import unit_vectors

TINY = 1e-300


class Ball(Protocol):
    """The geometry of one norm on perturbations ``(N, elements)`` in float64."""

    def size(self, delta: Tensor) -> Tensor:
        """Norms ``(N,)``, to rounding."""

    def slope(self, gradient: Tensor) -> Tensor:
        """Dual norms ``(N,)``: the rise that a perturbation of size 1 can give."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """Perturbations of size 1 that rise the most; zero where the gradient is."""

    def projected(self, delta: Tensor, radius: Tensor) -> Tensor:
        """The nearest perturbations of size ``radius`` ``(N,)`` or less."""

    def start(self, noise: Tensor, radius: Tensor) -> Tensor:
        """Random perturbations of at most ``radius`` from standard normal ``noise``."""

    def size_up(self, delta: np.ndarray, relative: float) -> np.ndarray:
        """Upper bounds ``(N,)`` of norms, of elements known up to a ``relative`` error."""


class L2Ball:
    """The Euclidean norm."""

    def size(self, delta: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(delta, dim=1)
        return size

    def slope(self, gradient: Tensor) -> Tensor:
        return self.size(gradient)

    def steepest(self, gradient: Tensor) -> Tensor:
        return unit_vectors(gradient, (1,))

    def projected(self, delta: Tensor, radius: Tensor) -> Tensor:
        shrink = (radius / self.size(delta).clamp(min=TINY)).clamp(max=1.0)
        return delta * shrink[:, None]

    def start(self, noise: Tensor, radius: Tensor) -> Tensor:
        return self.steepest(noise) * radius[:, None]

    def size_up(self, delta: np.ndarray, relative: float) -> np.ndarray:
        # with ratios of at most 1 the sum of n squares lies between 1 and n: nothing overflows,
        # and what underflows is less than one of the spare roundings in gamma
        largest = np.abs(delta).max(1, initial=0.0)
        ratios = delta / np.where(largest > 0.0, largest, 1.0)[:, None]
        size = largest * np.sqrt(np.square(ratios).sum(1))
        slack = 1.0 + 2.0 * relative + 2.0 * gamma(delta.shape[1] + 8)
        return np.where(largest > 0.0, np.nextafter(size * slack, np.inf), 0.0)


class LinfBall:
    """The largest absolute element."""

    def size(self, delta: Tensor) -> Tensor:
        return delta.abs().amax(1)

    def slope(self, gradient: Tensor) -> Tensor:
        return gradient.abs().sum(1)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def projected(self, delta: Tensor, radius: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(delta, -radius[:, None]), radius[:, None])

    def start(self, noise: Tensor, radius: Tensor) -> Tensor:
        # erf(z/√2) of a standard normal z is uniform on [−1, 1]
        return torch.erf(noise * 0.5**0.5) * radius[:, None]

    def size_up(self, delta: np.ndarray, relative: float) -> np.ndarray:
        largest = np.abs(delta).max(1, initial=0.0)
        bound = np.nextafter(largest * (1.0 + 2.0 * relative), np.inf)
        return np.where(largest > 0.0, bound, 0.0)


BALLS: Mapping[str, Ball] = {"l2": L2Ball(), "linf": LinfBall()}
"""The norms an attack knows."""
