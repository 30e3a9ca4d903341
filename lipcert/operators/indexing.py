"""Operators that only move elements: reshape, transpose, slice, gather, pad, expand, repeat."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from lipcert.operators.base import LinearOperator, Norms, Shape
from lipcert.rounding import sqrt_up


class Indexing(LinearOperator):
    """``y.flat[i] = x.flat[index.flat[i]]``, or zero where the index is −1.

    Parameters
    ----------
    index : int64 tensor of the output's shape, flat positions of the input or −1.
    in_shape : shape of the input.
    """

    def __init__(self, index: Tensor, in_shape: Shape) -> None:
        self.index = index
        self.in_shape = in_shape
        self.out_shape = tuple(index.shape)

    def apply(self, x: Tensor) -> Tensor:
        flat = x.reshape(x.shape[0], -1)
        taken = flat[:, self.index.clamp(min=0).reshape(-1)]
        if self._has_zeros:
            taken = taken * (self.index >= 0).reshape(-1)
        return taken.reshape(x.shape[0], *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        flat = y.reshape(y.shape[0], -1)
        index = self.index.reshape(-1)
        if self._has_zeros:
            kept = index >= 0
            flat, index = flat[:, kept], index[kept]
        total = torch.zeros(y.shape[0], self.in_size, dtype=y.dtype, device=y.device)
        return total.index_add_(1, index, flat).reshape(y.shape[0], *self.in_shape)

    def absolute_sums(self) -> tuple[Tensor, Tensor]:
        return (self.index >= 0).double(), self.multiplicity.double()

    @cached_property
    def _has_zeros(self) -> bool:
        return bool((self.index < 0).any())

    @cached_property
    def multiplicity(self) -> Tensor:
        """How many outputs read each input element, ``(*in_shape)``."""
        used = self.index[self.index >= 0]
        return torch.bincount(used, minlength=self.in_size).reshape(self.in_shape)

    @cached_property
    def largest_multiplicity(self) -> int:
        """The most outputs that read one input element; its root is the spectral norm."""
        return int(self.multiplicity.max()) if self.in_size else 0

    @cached_property
    def absolute_norms(self) -> Norms:
        most = float(self.largest_multiplicity)
        return Norms(most, exact_root(self.largest_multiplicity), min(most, 1.0))

    @property
    def terms(self) -> int:
        return 0 if self.largest_multiplicity <= 1 else self.largest_multiplicity

    @property
    def cost(self) -> float:
        return float(self.out_size)

    def to(self, device: torch.device) -> Indexing:
        return Indexing(self.index.to(device), self.in_shape)

    @property
    def device(self) -> torch.device | None:
        return self.index.device


class Reshape(Indexing):
    """The same elements in the same row-major order under another shape."""

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        self.in_shape = in_shape
        self.out_shape = out_shape

    @cached_property
    def index(self) -> Tensor:  # type: ignore[override]
        return torch.arange(self.in_size).reshape(self.out_shape)

    def apply(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        return y.reshape(y.shape[0], *self.in_shape)

    @cached_property
    def largest_multiplicity(self) -> int:
        return 1 if self.in_size else 0

    @property
    def cost(self) -> float:
        return 0.0

    def to(self, device: torch.device) -> Reshape:
        return self

    @property
    def device(self) -> None:
        return None


class Transpose(Indexing):
    """A permutation of axes: ``y = x.permute(permutation)``."""

    def __init__(self, in_shape: Shape, permutation: tuple[int, ...]) -> None:
        self.in_shape = in_shape
        self.permutation = permutation
        self.out_shape = tuple(in_shape[axis] for axis in permutation)

    @cached_property
    def index(self) -> Tensor:  # type: ignore[override]
        return torch.arange(self.in_size).reshape(self.in_shape).permute(self.permutation)

    def apply(self, x: Tensor) -> Tensor:
        return x.permute(0, *(axis + 1 for axis in self.permutation))

    def adjoint(self, y: Tensor) -> Tensor:
        inverse = [self.permutation.index(axis) for axis in range(len(self.permutation))]
        return y.permute(0, *(axis + 1 for axis in inverse))

    @cached_property
    def largest_multiplicity(self) -> int:
        return 1 if self.in_size else 0

    def to(self, device: torch.device) -> Transpose:
        return self

    @property
    def device(self) -> None:
        return None


def exact_root(count: int) -> float:
    """Upper bound of the square root of an integer, exact for perfect squares."""
    root = math.isqrt(count)
    return float(root) if root * root == count else sqrt_up(float(count))
