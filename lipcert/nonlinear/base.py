"""What a nonlinearity is here: a batched map with proven Lipschitz constants."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.operators import Norms, Shape


@dataclass(frozen=True)
class Slopes:
    """Interval ``[alpha, beta]`` that holds every slope of an elementwise function.

    Bounds are rounded outward.  They are numbers, or tensors that broadcast against the input
    where the function differs between elements (PRelu).
    """

    alpha: float | Tensor
    beta: float | Tensor

    @property
    def lipschitz(self) -> float:
        """``max(|alpha|, |beta|)`` over all elements."""
        return max(_largest(self.alpha), _largest(self.beta))

    @property
    def centre(self) -> float | Tensor:
        """``c = (alpha + beta) / 2``: any number serves, so its rounding is harmless."""
        return (self.alpha + self.beta) / 2.0

    @property
    def half_width(self) -> float | Tensor:
        """A bound of ``|slope − c|`` for the computed centre, rounded upward."""
        centre = self.centre
        above, below = self.beta - centre, centre - self.alpha
        if isinstance(above, Tensor) or isinstance(below, Tensor):
            widest = torch.maximum(torch.as_tensor(above), torch.as_tensor(below))
            return torch.nextafter(widest, torch.full_like(widest, math.inf))
        return math.nextafter(max(above, below), math.inf)


def _largest(bound: float | Tensor) -> float:
    return float(bound.abs().max()) if isinstance(bound, Tensor) else abs(bound)


class Nonlinearity(abc.ABC):
    """A map of one or more tensors whose Lipschitz constants are known.

    Several inputs are measured jointly: the constant is that of the map from their concatenation.
    """

    name: str

    @abc.abstractmethod
    def evaluate(self, *inputs: Tensor) -> Tensor:
        """Map batches ``(N, *shape)`` to a batch of outputs."""

    @abc.abstractmethod
    def lipschitz(self, *shapes: Shape) -> Norms:
        """Bounds of the Lipschitz constants in l1, l2 and linf for inputs of these shapes.

        Infinite where there is no global constant; :attr:`obstacle` then says why.
        """

    @property
    def slopes(self) -> Slopes | None:
        """The slope interval of an elementwise function; None for anything else."""
        return None

    @property
    def obstacle(self) -> str:
        """Why there is no finite global constant; empty when there is one."""
        return ""

    @property
    def help(self) -> str:
        """What would give a finite bound; empty when there is one."""
        return ""

    @property
    def ulps(self) -> int:
        """Units in the last place within which :meth:`evaluate` computes, elementwise."""
        return 8

    def to(self, device: torch.device) -> Nonlinearity:
        """The same map with any parameters on ``device``."""
        return self


def same(value: float) -> Norms:
    """One constant for all three norms."""
    return Norms(value, value, value)
