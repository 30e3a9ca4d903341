"""Models with one hidden layer: ``y = C φ(W x) + S x``, written out as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.bounds.rows import Rows, pull_back
from lipcert.operators import (
    Convolution,
    Dense,
    Diagonal,
    Indexing,
    LinearOperator,
    factors_of,
)
from lipcert.rounding import add_up, mul_up, sqrt_up
from lipcert.signals import SignalForm, Stage, Terms
from lipcert.spectral.tensors import frobenius_up, power_of_two_scale

MOST_ELEMENTS = 1 << 22
"""Elements of the largest matrix that is written out."""
MOST_HIDDEN = 4096
"""Neurons whose matrices are written out to see which of them are idle."""


@dataclass(frozen=True)
class HiddenLayer:
    """``C φ(W x) + S x`` with slopes of φ in [alpha, beta], each matrix with its error.

    Parameters
    ----------
    outer, inner, skip : C ``(m, n)``, W ``(n, inputs)``, S ``(m, inputs)``.
    alpha, beta : ends of each neuron's slope interval, ``(n,)``.
    """

    outer: Rows
    inner: Rows
    skip: Rows
    alpha: Tensor
    beta: Tensor

    @property
    def steepest(self) -> float:
        """The largest magnitude of any slope."""
        ends = torch.cat((self.alpha, self.beta)).abs()
        return float(ends.max()) if ends.numel() else 0.0

    @property
    def busy(self) -> Tensor:
        """Neurons whose row and column are not zero: the others contribute to the error alone."""
        return self.outer.matrix.any(0) & self.inner.matrix.any(1)

    def only(self, kept: Tensor) -> HiddenLayer:
        """Some of the neurons; the errors of all."""
        return HiddenLayer(
            Rows(self.outer.matrix[:, kept], self.outer.error),
            Rows(self.inner.matrix[kept], self.inner.error),
            self.skip,
            self.alpha[kept],
            self.beta[kept],
        )

    def difference(self, i: int, j: int) -> HiddenLayer:
        """``y_i − y_j`` as the only output."""
        return replace(self, outer=_difference(self.outer, i, j), skip=_difference(self.skip, i, j))

    @property
    def stored_error(self) -> float:
        """What the errors of the matrices add to the norm of any ``C D W + S``."""
        outer, inner = self.outer, self.inner
        crossed = add_up(
            mul_up(size_up(outer.matrix), inner.error),
            mul_up(outer.error, size_up(inner.matrix)),
            mul_up(outer.error, inner.error),
        )
        return add_up(mul_up(self.steepest, crossed), self.skip.error)


def _difference(rows: Rows, i: int, j: int) -> Rows:
    row = (rows.matrix[i] - rows.matrix[j])[None]
    rounding = mul_up(2.0**-52, size_up(row))
    return Rows(row, add_up(mul_up(rows.error, 1.4142135623730952), rounding))


def size_up(matrix: Tensor) -> float:
    """A bound of the Frobenius norm, without over- or underflow of the squares."""
    scale = power_of_two_scale(matrix)
    return mul_up(float(frobenius_up((matrix / scale)[None])), scale)


def written_out(form: SignalForm, terms: Terms, context: BoundContext) -> dict[int, Rows]:
    """The explicit matrix of each operator, on the CPU."""
    shape = next(iter(terms.values())).out_shape
    count = math.prod(shape)
    rows = pull_back(form, terms, count, shape, lambda signal: None, context)
    written = {}
    for j, part in rows.items():
        weight = _only_weight(terms[j])
        own = None if weight is None else mul_up(weight.error.l2, sqrt_up(float(count)))
        written[j] = Rows(part.matrix.cpu(), part.error if own is None else min(own, part.error))
    return written


def _only_weight(operator: LinearOperator) -> LinearOperator | None:
    """The one factor with coefficients beside rearrangements; None where there are more.

    Each entry of the matrix is then one coefficient: a basis vector is pulled back unrounded.
    """
    weights = []
    for factor in factors_of(operator):
        if isinstance(factor, Dense | Convolution | Diagonal):
            weights.append(factor)
        elif not isinstance(factor, Indexing) or factor.largest_multiplicity > 1:
            return None
    if len(weights) > 1:
        return None
    return weights[0] if weights else operator


def affords(operators: Terms, context: BoundContext) -> bool:
    """Whether these operators may be written out."""
    largest = max(A.out_size * max(A.in_size, A.out_size) for A in operators.values())
    work = sum(A.out_size * A.cost for A in operators.values())
    return largest <= MOST_ELEMENTS and context.settings.leaves_time_for(work)


def slope_ends(stage: Stage) -> tuple[Tensor, Tensor]:
    """Both ends of the slope interval of each neuron of an elementwise stage, flat."""
    slopes = stage.nonlinearity.slopes
    assert slopes is not None
    alpha, beta = (
        torch.as_tensor(end, dtype=torch.float64).cpu().expand(stage.shape).reshape(-1)
        for end in (slopes.alpha, slopes.beta)
    )
    return alpha, beta


def hidden_layer(
    form: SignalForm, context: BoundContext
) -> tuple[HiddenLayer, Sequence[Stage]] | None:
    """A model whose nonlinearities all read the input alone, and those that its output reads.

    None for other models, and for those too large to be written out.
    """
    stages = [form.stages[k - 1] for k in form.output_terms if k > 0]
    elementwise = all(stage.nonlinearity.slopes is not None for stage in stages)
    if not stages or not elementwise or any(set(stage.terms) != {0} for stage in stages):
        return None
    tables = [form.output_terms, *(stage.terms for stage in stages)]
    total = sum(math.prod(stage.shape) for stage in stages)
    if total > MOST_HIDDEN or not all(affords(table, context) for table in tables):
        return None
    outer = written_out(form, form.output_terms, context)
    inner = [written_out(form, stage.terms, context)[0] for stage in stages]
    nothing = torch.zeros(math.prod(form.output_shape), form.size(0), dtype=torch.float64)
    skip = outer.pop(0, Rows(nothing, 0.0))
    ends = [slope_ends(stage) for stage in stages]
    layer = HiddenLayer(
        Rows(
            torch.cat([outer[k].matrix for k in sorted(outer)], 1),
            add_up(*(rows.error for rows in outer.values())),
        ),
        Rows(torch.cat([rows.matrix for rows in inner]), add_up(*(rows.error for rows in inner))),
        skip,
        torch.cat([alpha for alpha, _ in ends]),
        torch.cat([beta for _, beta in ends]),
    )
    return layer, stages
