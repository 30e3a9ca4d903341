"""Losses of the distance to a target vector: squared, absolute, Huber, and cosine similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lipcert.errors import InputError
from lipcert.rounding import add_up, div_up, mul_up
from lipcert.sensitivities.losses.conventions import OUTPUT_REDUCTIONS
from lipcert.sensitivities.losses.labels import NORM_ROUNDED, check_norms, vectors
from lipcert.sensitivities.losses.loss import LOSSES, Loss, check_number

VECTORS = "target vectors (N, K)"
LEAST_DIRECTION = 1e-15
"""Norm above which squares do not underflow, in float32 either."""


@LOSSES.register("mse")
@dataclass(frozen=True, kw_only=True)
class SquaredError(Loss):
    """``(z − y)²`` of each output, summed or averaged over outputs: the gradient is ``2(z − y)``.

    For ‖z‖ ≤ X and ‖y‖ ≤ Y its norm is at most ``2(X + Y)`` (÷K for the mean), attained at
    opposite vectors; it has no bound where z has none.

    Parameters
    ----------
    target_norm : Y, an upper bound of ‖y‖ that holds for every possible example.
    reduction : over outputs, ``sum`` or ``mean``.
    """

    target_norm: float | None = None
    reduction: str = "sum"

    name = "mse"
    labels = VECTORS

    def __post_init__(self) -> None:
        if self.target_norm is None:
            raise InputError(
                self.place,
                "the largest norm of a target is not given",
                "add target_norm= (1 for one-hot targets)",
            )
        check_number(self.place, "target_norm", self.target_norm, least=0.0)
        _ = OUTPUT_REDUCTIONS[self.reduction]

    @property
    def formula(self) -> str:
        return (
            f"squared error (z − y)² for ‖y‖ ≤ {self.target_norm:g} and a bounded output, "
            f"{self.reduction} over outputs"
        )

    def _constant(self, outputs: int, output_bound: float) -> float:
        if math.isinf(output_bound):
            raise InputError(
                self.place,
                "has no Lipschitz constant where the output is not bounded",
                "bound the model's input, or use mae or huber",
            )
        distance = add_up(output_bound, longest_target(self.target_norm))
        return mul_up(2.0, OUTPUT_REDUCTIONS[self.reduction].weight_up(outputs), distance)

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        y = vectors(labels, z, self.place)
        check_norms(y, float(self.target_norm or 0.0), self.place)
        return OUTPUT_REDUCTIONS[self.reduction].reduce((z - y).square())


@LOSSES.register("mae")
@dataclass(frozen=True, kw_only=True)
class AbsoluteError(Loss):
    """``|z − y|`` of each output, summed or averaged over outputs: slopes of 1, but at 0.

    Parameters
    ----------
    reduction : over outputs, ``sum`` or ``mean``.
    """

    reduction: str = "sum"

    name = "mae"
    labels = VECTORS

    def __post_init__(self) -> None:
        _ = OUTPUT_REDUCTIONS[self.reduction]

    @property
    def formula(self) -> str:
        return f"absolute error |z − y|, {self.reduction} over outputs"

    def _constant(self, outputs: int, output_bound: float) -> float:
        return OUTPUT_REDUCTIONS[self.reduction].constant_up(outputs, 1.0)

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        y = vectors(labels, z, self.place)
        return OUTPUT_REDUCTIONS[self.reduction].reduce((z - y).abs())


@LOSSES.register("huber")
@dataclass(frozen=True, kw_only=True)
class Huber(Loss):
    """``(z−y)²/2`` up to a distance of δ and ``δ(|z−y| − δ/2)`` beyond, of each output: slope δ.

    PyTorch's ``smooth_l1_loss`` is this divided by δ.

    Parameters
    ----------
    delta : δ.
    reduction : over outputs, ``sum`` or ``mean``.
    """

    delta: float = 1.0
    reduction: str = "sum"

    name = "huber"
    labels = VECTORS

    def __post_init__(self) -> None:
        check_number(self.place, "delta", self.delta, least=0.0, excluded=True)
        _ = OUTPUT_REDUCTIONS[self.reduction]

    @property
    def formula(self) -> str:
        return (
            f"Huber (z − y)²/2, beyond δ: δ(|z − y| − δ/2), with δ = {self.delta:g}, "
            f"{self.reduction} over outputs"
        )

    def _constant(self, outputs: int, output_bound: float) -> float:
        return OUTPUT_REDUCTIONS[self.reduction].constant_up(outputs, float(self.delta))

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        y = vectors(labels, z, self.place)
        terms = F.huber_loss(z, y, reduction="none", delta=float(self.delta))
        return OUTPUT_REDUCTIONS[self.reduction].reduce(terms)


@LOSSES.register("cosine")
@dataclass(frozen=True, kw_only=True)
class CosineSimilarity(Loss):
    """``−zᵀy / max(‖z‖, X_min)``, with ``y/‖y‖`` in place of y unless ``target_norm`` is given.

    The gradient is ``y/X_min`` below the norm X_min, and ``(I − ẑẑᵀ)y/‖z‖`` above it: at most
    ``‖y‖/X_min``, attained.  It equals plain cosine similarity where ‖z‖ ≥ X_min, and only there
    does the constant hold for that.

    Parameters
    ----------
    smallest_norm : X_min, which the loss in training must have too (PyTorch's ``eps``).
    target_norm : an upper bound of ‖y‖ that holds for every possible example; empty to divide each
        target by its norm.
    """

    smallest_norm: float | None = None
    target_norm: float | None = None

    name = "cosine"
    labels = VECTORS

    def __post_init__(self) -> None:
        if self.smallest_norm is None:
            raise InputError(
                self.place,
                "has no Lipschitz constant near an output of zero",
                "add smallest_norm=, a lower bound of the output's norm that the loss clamps to",
            )
        check_number(self.place, "smallest_norm", self.smallest_norm, least=0.0, excluded=True)
        if self.target_norm is not None:
            check_number(self.place, "target_norm", self.target_norm, least=0.0)

    @property
    def formula(self) -> str:
        known = self.target_norm is not None
        target = f"for ‖y‖ ≤ {self.target_norm:g}" if known else "with y divided by its norm"
        return f"cosine similarity −zᵀy/max(‖z‖, {self.smallest_norm:g}) {target}"

    def _constant(self, outputs: int, output_bound: float) -> float:
        longest = longest_target(1.0 if self.target_norm is None else self.target_norm)
        return div_up(longest, float(self.smallest_norm or 0.0))

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        y = vectors(labels, z, self.place)
        if self.target_norm is None:
            norms = torch.linalg.vector_norm(y, dim=1, keepdim=True)
            if not bool((norms > LEAST_DIRECTION).all()):
                raise InputError(
                    self.place, "a target is zero and has no direction", "remove such samples"
                )
            y = y / norms
        else:
            check_norms(y, float(self.target_norm), self.place)
        size = torch.linalg.vector_norm(z, dim=1).clamp(min=float(self.smallest_norm or 0.0))
        similarity: Tensor = (z * y).sum(1) / size
        return -similarity


def longest_target(target_norm: float | None) -> float:
    """Upper bound of the norms that :func:`check_norms` lets pass."""
    return mul_up(float(target_norm or 0.0), NORM_ROUNDED, NORM_ROUNDED)
