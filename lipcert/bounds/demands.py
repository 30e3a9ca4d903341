"""Strictly feasible multipliers by AutoLip's recursion, from the output back to the input.

If the squares of all signals are demanded with weights g, a stage with multiplier u grants
``g ‖z‖²`` for ``h ‖v‖²`` where ``u ‖z − c v‖² − u r² ‖v‖² ≥ g ‖z‖² − h ‖v‖²``, that is for
``h = u r² + u g c² / (u − g)``.  For one neuron ``u = (1 + |c|/r) g`` is the cheapest, with
``h = (r + |c|)² g``, the square of the steepest slope; ``u = 2 g`` is never twice as dear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.bounds.autolip import slope_constant
from lipcert.bounds.context import BoundContext
from lipcert.bounds.coordinates import SMALLEST_HALF_WIDTH
from lipcert.signals import SignalForm, Stage, Terms

LEAST_SHARE = 1e-6
"""Of the largest term: what hardly moves, or not at all, must not be demanded without end."""

LEAST_DEMAND = 1e-8
"""Of a signal, in units of the output's: what hardly counts has a multiplier all the same."""


@dataclass(frozen=True)
class Demands:
    """What one part demands on its input, and the multiplier of each of its stages."""

    entry: float
    multipliers: list[float]


def demands_of(
    form: SignalForm,
    constant: float | None,
    demand: float,
    context: BoundContext,
    margin: float,
) -> Demands:
    """Multipliers of a part whose output is demanded with weight ``demand``.

    Parameters
    ----------
    constant : the part's Lipschitz constant where it is taken as a whole.
    margin : factor above 1 by which every demand is exceeded.
    """
    if constant is not None:
        return Demands(max(demand * constant * constant, 1e-280) * margin, [])
    constants = _signal_constants(form, context)
    demands = [0.0] * (len(form.stages) + 1)
    total = _spread(demands, form.output_terms, demand, constants, context)
    weight = max(demand * total * total, 1e-280)  # of the output, for a unit step of the input
    least = [LEAST_DEMAND * weight / max(size * size, LEAST_DEMAND) for size in constants]
    multipliers = [0.0] * len(form.stages)
    for k in range(len(form.stages), 0, -1):
        stage = form.stages[k - 1]
        wanted = max(demands[k], least[k]) * margin
        factor, price = _exchange(stage)
        multipliers[k - 1] = factor * wanted
        _spread(demands, stage.terms, price * wanted * margin, constants, context)
    return Demands(max(demands[0], least[0]) * margin, multipliers)


def _exchange(stage: Stage) -> tuple[float, float]:
    """``u/g`` for all neurons or groups of a stage, and the ``h/g`` that all of them have then."""
    slopes = stage.nonlinearity.slopes
    if slopes is None:
        groups = stage.nonlinearity.groups(*stage.input_shapes, outputs=math.prod(stage.shape))
        elements = groups.reads[0]
        most = int(torch.bincount(elements).max()) if elements.numel() else 1
        return 1.0, groups.constant * groups.constant * most
    c = torch.as_tensor(slopes.centre, dtype=torch.float64).abs().reshape(-1)
    r = torch.as_tensor(slopes.half_width, dtype=torch.float64).reshape(-1)
    r = torch.maximum(r, SMALLEST_HALF_WIDTH * c + 1e-300)
    cheapest = 1.0 + c / r
    tried = torch.stack((cheapest.new_tensor(2.0), cheapest.min(), cheapest.max()))
    prices = torch.stack([_price(u, c, r) for u in tried])
    best = int(prices.argmin())
    return float(tried[best]), float(prices[best])


def _price(u: Tensor, c: Tensor, r: Tensor) -> Tensor:
    """The largest ``h/g`` for one ``u/g``."""
    through = torch.where(c > 0.0, u * c.square() / (u - 1.0), 0.0)
    return (u * r.square() + through).max()


def _signal_constants(form: SignalForm, context: BoundContext) -> list[float]:
    """About AutoLip's constants, by the triangle inequality: only the shares follow from them."""
    constants = [1.0]
    for stage in form.stages:
        before = sum(context.norm_of(A).value * constants[j] for j, A in stage.terms.items())
        constants.append(max(slope_constant(stage, "l2") * before, 1e-200))
    return constants


def _spread(
    demands: list[float],
    terms: Terms,
    demand: float,
    constants: list[float],
    context: BoundContext,
) -> float:
    """``‖Σ_j A_j z_j‖² ≤ Σ_j ‖A_j‖²/θ_j ‖z_j‖²``, shares θ_j as large as the terms.

    Returns the sum of the terms.
    """
    sizes = {j: context.norm_of(A).value for j, A in terms.items()}
    sizes = {j: size for j, size in sizes.items() if size > 0.0}
    parts = {j: size * constants[j] for j, size in sizes.items()}
    least = LEAST_SHARE * max(parts.values(), default=0.0)
    parts = {j: max(part, least, 1e-300) for j, part in parts.items()}
    total = sum(parts.values())
    for j, part in parts.items():
        demands[j] += demand * sizes[j] * sizes[j] * (total / part)
    return total
