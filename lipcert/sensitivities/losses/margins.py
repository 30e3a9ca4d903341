"""Losses of signed margins: hinge, Kantorovich–Rubinstein, both together, multiclass hinge."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.errors import InputError
from lipcert.registry import Registry
from lipcert.rounding import add_up, div_up, mul_up, sqrt_up, up
from lipcert.sensitivities.losses.conventions import OUTPUT_REDUCTIONS, inverse_of
from lipcert.sensitivities.losses.labels import class_indices, signs
from lipcert.sensitivities.losses.loss import LOSSES, Loss, check_number
from lipcert.sensitivities.losses.pairwise import widest_pair_bound

SIGNED = "±1 or 0/1 for each output, or class indices (one-vs-all)"


@dataclass(frozen=True)
class Mixture:
    """How the KR term and the hinge add up.

    Attributes
    ----------
    weight : of the KR term, in symbols.
    most_alpha : the largest α it is defined for.
    weight_of : weight of the KR term, from α.
    slope_up : upper bound of that weight plus α, from α.
    """

    weight: str
    most_alpha: float
    weight_of: Callable[[float], float]
    slope_up: Callable[[float], float]


MIXTURES: Registry[Mixture] = Registry("--loss mixture")
MIXTURES.register("adds")(
    Mixture("", math.inf, lambda alpha: 1.0, lambda alpha: add_up(1.0, alpha))
)
# 1 − α is rounded where it is computed: one neighbour above 1
MIXTURES.register("mixes")(Mixture("(1−α)", 1.0, lambda alpha: 1.0 - alpha, lambda alpha: up(1.0)))


@dataclass(frozen=True)
class ClassReduction:
    """How the terms of the classes j ≠ y of a multiclass hinge become one loss.

    Attributes
    ----------
    constant_up : Lipschitz constant, from K.
    weights_up : upper bound of the sum of the weights of the terms in a gradient, from K.
    reduce : terms ``(N, K)``, zero at y, to losses ``(N,)``.
    """

    constant_up: Callable[[int], float]
    weights_up: Callable[[int], float]
    reduce: Callable[[Tensor], Tensor]


CLASS_REDUCTIONS: Registry[ClassReduction] = Registry("--loss reduction")
CLASS_REDUCTIONS.register("max")(
    ClassReduction(lambda K: sqrt_up(2.0), lambda K: 1.0, lambda terms: terms.amax(1))
)
CLASS_REDUCTIONS.register("sum")(
    ClassReduction(
        lambda K: sqrt_up(float(K * (K - 1))), lambda K: float(K - 1), lambda terms: terms.sum(1)
    )
)
CLASS_REDUCTIONS.register("mean")(
    ClassReduction(
        lambda K: mul_up(inverse_of(K), sqrt_up(float(K * (K - 1)))),
        lambda K: div_up(float(K - 1), float(K)),
        lambda terms: terms.mean(1),
    )
)


@LOSSES.register("hinge")
@dataclass(frozen=True, kw_only=True)
class Hinge(Loss):
    """``max(0, m − yz)`` of each output, y = ±1, summed or averaged: slopes of 1 at most, attained.

    Parameters
    ----------
    margin : m; the constant does not depend on it.
    reduction : over outputs, ``sum`` or ``mean``.
    """

    margin: float = 1.0
    reduction: str = "sum"

    name = "hinge"
    labels = SIGNED

    def __post_init__(self) -> None:
        check_number(self.place, "margin", self.margin, least=0.0)
        _ = OUTPUT_REDUCTIONS[self.reduction]

    @property
    def formula(self) -> str:
        return f"hinge max(0, m − yz) with m = {self.margin:g}, {self.reduction} over outputs"

    def _constant(self, outputs: int, output_bound: float) -> float:
        return OUTPUT_REDUCTIONS[self.reduction].constant_up(outputs, 1.0)

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        terms = torch.relu(self.margin - signs(labels, z, self.place) * z)
        return OUTPUT_REDUCTIONS[self.reduction].reduce(terms)


@LOSSES.register("kr")
@dataclass(frozen=True, kw_only=True)
class KantorovichRubinstein(Loss):
    """``−yz`` of each output, y = ±1, summed or averaged: slopes of exactly 1.

    Parameters
    ----------
    reduction : over outputs, ``sum`` or ``mean``.
    balance : only ``none``: weights from the counts of a batch are refused.
    """

    reduction: str = "sum"
    balance: str = "none"

    name = "kr"
    labels = SIGNED

    def __post_init__(self) -> None:
        check_balance(self.balance, self.place)
        _ = OUTPUT_REDUCTIONS[self.reduction]

    @property
    def formula(self) -> str:
        return f"Kantorovich–Rubinstein −yz, not balanced, {self.reduction} over outputs"

    def _constant(self, outputs: int, output_bound: float) -> float:
        return OUTPUT_REDUCTIONS[self.reduction].constant_up(outputs, 1.0)

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        return OUTPUT_REDUCTIONS[self.reduction].reduce(-signs(labels, z, self.place) * z)


@LOSSES.register("hinge-kr")
@dataclass(frozen=True, kw_only=True)
class HingeKR(Loss):
    """``−yz + α·max(0, m − yz)`` of each output, y = ±1: slopes of 1 + α at most, attained.

    Parameters
    ----------
    alpha : α.
    mixture : ``adds`` as above; ``mixes`` for ``−(1−α)yz + α·max(0, m − yz)``, of slope 1.
    margin : m; the constant does not depend on it.
    reduction : over outputs, ``sum`` or ``mean``.
    balance : only ``none``: weights from the counts of a batch are refused.
    """

    alpha: float | None = None
    mixture: str = "adds"
    margin: float = 1.0
    reduction: str = "sum"
    balance: str = "none"

    name = "hinge-kr"
    labels = SIGNED

    def __post_init__(self) -> None:
        check_balance(self.balance, self.place)
        if self.alpha is None:
            raise InputError(self.place, "α is not given", "add alpha=, as the training used it")
        check_number(self.place, "alpha", self.alpha, least=0.0)
        if self.alpha > MIXTURES[self.mixture].most_alpha:
            raise InputError(
                self.place,
                f"alpha = {self.alpha:g} leaves KR a negative weight",
                "choose alpha of 1 at most, or mixture=adds",
            )
        check_number(self.place, "margin", self.margin, least=0.0)
        _ = OUTPUT_REDUCTIONS[self.reduction]

    @property
    def formula(self) -> str:
        weight = MIXTURES[self.mixture].weight
        return (
            f"hinge-KR −{weight}yz + α·max(0, m − yz) with α = {self.alpha:g}, "
            f"m = {self.margin:g}, not balanced, {self.reduction} over outputs"
        )

    def _constant(self, outputs: int, output_bound: float) -> float:
        slope = MIXTURES[self.mixture].slope_up(float(self.alpha or 0.0))
        return OUTPUT_REDUCTIONS[self.reduction].constant_up(outputs, slope)

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        alpha = float(self.alpha or 0.0)
        weight = MIXTURES[self.mixture].weight_of(alpha)
        signed = signs(labels, z, self.place) * z
        terms = alpha * torch.relu(self.margin - signed) - weight * signed
        return OUTPUT_REDUCTIONS[self.reduction].reduce(terms)


@LOSSES.register("multiclass-hinge")
@dataclass(frozen=True, kw_only=True)
class MulticlassHinge(Loss):
    """``max(0, m + z_j − z_y)`` over the classes j ≠ y: their maximum, sum, or sum divided by K.

    A maximum has the gradient ``e_j − e_y`` of one of them (or a mean of such), of norm √2.  With
    n < K of them active the sum has n ones and ``−n``: ``√(n² + n) ≤ √(K(K−1))``, attained.

    Parameters
    ----------
    margin : m; the constant does not depend on it.
    reduction : ``max`` (Crammer–Singer), ``sum`` (Weston–Watkins), or ``mean``: the sum over K, as
        PyTorch's ``multi_margin_loss``.
    """

    margin: float = 1.0
    reduction: str = "sum"

    name = "multiclass-hinge"
    labels = "class indices (N,) or one-hot (N, K)"
    fewest_outputs = 2
    source = "Crammer and Singer 2001; Weston and Watkins 1999; constants derived here"

    def __post_init__(self) -> None:
        check_number(self.place, "margin", self.margin, least=0.0)
        _ = CLASS_REDUCTIONS[self.reduction]

    @property
    def formula(self) -> str:
        return f"multiclass hinge, {self.reduction} of max(0, m + z_j − z_y), m = {self.margin:g}"

    def _constant(self, outputs: int, output_bound: float) -> float:
        return CLASS_REDUCTIONS[self.reduction].constant_up(outputs)

    def _values(self, z: Tensor, labels: Tensor) -> Tensor:
        indices = class_indices(labels, z, self.place)[:, None]
        terms = torch.relu(self.margin + z - z.gather(1, indices)).scatter(1, indices, 0.0)
        return CLASS_REDUCTIONS[self.reduction].reduce(terms)

    def head_lipschitz(self, W: Tensor) -> float:
        """``max_{i≠j} ‖w_i − w_j‖`` for ``max``, whose gradient is ``Wᵀ(e_j − e_y)``.

        For the others, of at most K−1 such terms (over K): their triangle inequality.
        """
        pair = widest_pair_bound(W, smoothing=0.0, place=self.place)
        return mul_up(CLASS_REDUCTIONS[self.reduction].weights_up(len(W)), pair)


def check_balance(balance: str, place: str) -> None:
    """Raises InputError for weights that depend on the batch: no loss of one example has them."""
    if balance != "none":
        raise InputError(
            place,
            f"balance = {balance} weights an example by the counts of its batch, "
            "so that one example moves the gradients of the others",
            "train with balance=none, or with fixed public weights and --loss custom",
        )
