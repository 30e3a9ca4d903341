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
        """A bound of ``|slope − c|`` for the computed centre, itself where float64 holds it."""
        alpha, beta, centre = (
            torch.as_tensor(value, dtype=torch.float64)
            for value in (self.alpha, self.beta, self.centre)
        )
        widest = torch.maximum(_difference_up(beta, centre), _difference_up(centre, alpha))
        return widest if isinstance(self.centre, Tensor) else float(widest)


def _difference_up(a: Tensor, b: Tensor) -> Tensor:
    """``a − b`` rounded upward: Knuth's two-sum tells on which side the computed value lies."""
    d = a - b
    part = d - a
    error = (a - (d - part)) - (b + part)
    return torch.where(error > 0.0, torch.nextafter(d, torch.full_like(d, math.inf)), d)


def _largest(bound: float | Tensor) -> float:
    return float(bound.abs().max()) if isinstance(bound, Tensor) else abs(bound)


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of elements between which a map is Lipschitz in l2, each apart from the others.

    ``Σ_{i in outputs of g} dz_i² ≤ constant² · Σ_{j read by g} dv_j²`` for every group g.

    Parameters
    ----------
    outputs : group of each output element, ``(N,)``.
    reads : which element of the flattened inputs, ``(R,)``, is read by which group, ``(R,)``.
    constant : the Lipschitz constant.
    rearranges : whether the outputs of a group are its inputs in another order, so that their sum
        stays the same.
    """

    outputs: Tensor
    reads: tuple[Tensor, Tensor]
    constant: float
    rearranges: bool = False

    @staticmethod
    def elementwise(count: int, operands: int, constant: float) -> Groups:
        """Output i reads element i of each of several operands."""
        outputs = torch.arange(count)
        reads = torch.arange(count * operands), outputs.repeat(operands)
        return Groups(outputs, reads, constant)

    @staticmethod
    def along(shape: Shape, axes: tuple[int, ...]) -> Tensor:
        """Which line or patch along ``axes`` each element of a tensor lies in."""
        kept = [1 if axis in {a % len(shape) for a in axes} else n for axis, n in enumerate(shape)]
        labels = torch.arange(math.prod(kept)).reshape(kept)
        return labels.expand(shape).reshape(-1)


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

    def groups(self, *shapes: Shape, outputs: int) -> Groups:
        """Groups within which a map that is not elementwise is Lipschitz; one group by default.

        Parameters
        ----------
        shapes : of the inputs.
        outputs : number of output elements.
        """
        count = sum(math.prod(shape) for shape in shapes)
        everything = torch.arange(count), torch.zeros(count, dtype=torch.int64)
        together = torch.zeros(outputs, dtype=torch.int64)
        return Groups(together, everything, self.lipschitz(*shapes).l2)

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
