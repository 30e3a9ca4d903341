"""What a linear operator is here: a batched map, its adjoint, and what rounding does to both."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from lipcert.rounding import SMALLEST_NORMAL, add_up, gamma, mul_up, sqrt_up

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Norms:
    """Upper bounds of one operator's induced l1, l2 and linf norms."""

    l1: float
    l2: float
    linf: float

    def __add__(self, other: Norms) -> Norms:
        return Norms(
            add_up(self.l1, other.l1), add_up(self.l2, other.l2), add_up(self.linf, other.linf)
        )

    def __mul__(self, other: Norms) -> Norms:
        return Norms(
            mul_up(self.l1, other.l1), mul_up(self.l2, other.l2), mul_up(self.linf, other.linf)
        )

    def scaled(self, factor: float) -> Norms:
        """All three multiplied by a non-negative factor."""
        return self * Norms(factor, factor, factor)

    @property
    def transposed(self) -> Norms:
        """The norms of the adjoint: l1 and linf change places."""
        return Norms(self.linf, self.l2, self.l1)

    @staticmethod
    def schur(l1: float, linf: float) -> Norms:
        """Bounds from the absolute column and row sums: ``‖A‖₂² ≤ ‖A‖₁ ‖A‖∞`` (Schur test)."""
        return Norms(l1, mul_up(sqrt_up(l1), sqrt_up(linf)), linf)


ZERO_NORMS = Norms(0.0, 0.0, 0.0)


class LinearOperator(abc.ABC):
    """A linear map from tensors of ``in_shape`` to tensors of ``out_shape``, float64.

    The stored coefficients may differ from the true ones (a product of weights that was rounded,
    a batch-normalisation scale): ``error`` bounds the norms of that difference.  Implementations
    are immutable.
    """

    in_shape: Shape
    out_shape: Shape
    error: Norms = ZERO_NORMS

    @abc.abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Map a batch ``(N, *in_shape)`` to ``(N, *out_shape)``."""

    @abc.abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Map a batch ``(N, *out_shape)`` to ``(N, *in_shape)`` by the transpose."""

    @abc.abstractmethod
    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        """Row sums ``(*out_shape)`` and column sums ``(*in_shape)`` of ``|A|``, up to rounding."""

    @property
    @abc.abstractmethod
    def terms(self) -> int:
        """The most roundings that go into one element of :meth:`apply` or :meth:`adjoint`."""

    @property
    @abc.abstractmethod
    def cost(self) -> float:
        """Floating-point operations of one :meth:`apply` of one vector."""

    @abc.abstractmethod
    def to(self, device: torch.device) -> Self:
        """The same operator with its coefficients on ``device``."""

    @property
    @abc.abstractmethod
    def device(self) -> torch.device | None:
        """Where the coefficients are; None when there are none."""

    @property
    def in_size(self) -> int:
        """Number of input elements."""
        return math.prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """Number of output elements."""
        return math.prod(self.out_shape)

    @cached_property
    def absolute_norms(self) -> Norms:
        """Upper bounds of the norms of ``|A|``; for l1 and linf these are those of ``A``."""
        rows, columns = self.absolute_sums()
        slack = 1.0 + 4.0 * gamma(self.terms + 1)
        l1 = mul_up(float(columns.max()) if columns.numel() else 0.0, slack)
        linf = mul_up(float(rows.max()) if rows.numel() else 0.0, slack)
        if math.isnan(l1) or math.isnan(linf):
            l1 = linf = math.inf
        return Norms.schur(l1, linf)

    @cached_property
    def evaluation_error(self) -> Norms:
        """Bounds e with ``‖fl(A x) − A x‖ ≤ e‖x‖ + underflow`` for the true operator ``A``.

        Elementwise ``|fl(Ax) − Ax| ≤ γ_n |A||x|`` for any order of summation (Higham 2002, 3.5).
        The transpose of these bounds holds for :meth:`adjoint`.
        """
        return self.absolute_norms.scaled(gamma(self.terms)) + self.error

    @cached_property
    def underflow(self) -> float:
        """What underflow can add to one :meth:`apply` or :meth:`adjoint`, in any of the norms."""
        return self.terms * SMALLEST_NORMAL * max(self.in_size, self.out_size, 1)

    @cached_property
    def largest_gain(self) -> float:
        """A bound of all three norms of what :meth:`apply` computes, at least 1."""
        total = self.absolute_norms + self.evaluation_error
        return max(1.0, total.l1, total.l2, total.linf)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_dims(self.in_shape)} -> {_dims(self.out_shape)})"


def _dims(shape: Shape) -> str:
    return "×".join(str(size) for size in shape) or "scalar"


def flat_identity(start: int, stop: int, shape: Shape, device: torch.device | None) -> Tensor:
    """Rows ``start:stop`` of the identity on tensors of ``shape``: ``(stop-start, *shape)``."""
    size = math.prod(shape)
    rows = torch.zeros(stop - start, size, dtype=torch.float64, device=device)
    rows[torch.arange(stop - start), torch.arange(start, stop)] = 1.0
    return rows.reshape(stop - start, *shape)
