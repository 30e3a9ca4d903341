"""Chains of nonnegative weights, or of weights that become so when some neurons are turned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.bounds.exact.absolute import AbsoluteProduct
from lipcert.bounds.exact.hidden import affords, size_up, slope_ends, written_out
from lipcert.bounds.exact.rays import comes_close, far_layer, rays_inside
from lipcert.bounds.result import Constants
from lipcert.bounds.rows import Rows
from lipcert.rounding import SMALLEST_NORMAL, add_up, mul_up
from lipcert.signals import SignalForm

PASSES = 100
"""Passes over the chain in which signs must settle."""
MOST_OUTPUTS = 64
"""Outputs up to which the difference of every two is bounded on its own."""


def nonnegative_chain(
    form: SignalForm, plain: Constants, context: BoundContext
) -> Constants | None:
    """Nonnegative weights, after turning signs of neurons: the norm of the product."""
    weights = _chain_weights(form, context) if form.stages else None
    if weights is None:
        return None
    matrices = trimmed([rows.matrix for rows in weights])
    signs = consistent_signs(matrices)
    if signs is None:
        return None
    steepest = [_steepest(form, k) for k in range(1, len(weights))]
    inner = AbsoluteProduct.of(weights[0])
    for slopes, rows in zip(steepest[:-1], weights[1:-1], strict=True):
        inner = inner.times(slopes, rows)
    value = inner.times(steepest[-1], weights[-1]).norm_bound(context.settings)
    value = min(value, plain.value)
    exact = _has_all_steepest(form, matrices, steepest, signs[0], value)

    def pairwise_constants() -> np.ndarray:
        table = plain.pairwise().copy()
        if len(table) <= MOST_OUTPUTS:
            for i, rows in enumerate(_differences(weights[-1])):
                own = inner.times(steepest[-1], rows).row_bounds()
                table[i] = np.fmin(table[i], own)
            table = np.minimum(table, table.T)
            np.fill_diagonal(table, 0.0)
        return table

    turned = any(bool((sign < 0.0).any()) for sign in signs[1:-1])
    details = "nonnegative weights" + (" after turning neurons" if turned else "")
    details += "" if exact else ", no input known to be that steep"
    return Constants(value, plain.signals, pairwise_constants, details, exact)


def _chain_weights(form: SignalForm, context: BoundContext) -> list[Rows] | None:
    """The matrices of a chain of elementwise activations, first to last; None for other models."""
    tables = [*(stage.terms for stage in form.stages), form.output_terms]
    for k, table in enumerate(tables):
        if set(table) != {k} or not affords(table, context):
            return None
    if any(stage.nonlinearity.slopes is None for stage in form.stages):
        return None
    sizes = [form.size(k) for k in range(len(tables))]
    work = 2.0 * sizes[0] * sum(a * b for a, b in pairwise(sizes))
    if not context.settings.leaves_time_for(work):
        return None
    return [written_out(form, table, context)[k] for k, table in enumerate(tables)]


def _steepest(form: SignalForm, signal: int) -> Tensor:
    """The largest magnitude of the slope of each neuron."""
    alpha, beta = slope_ends(form.stages[signal - 1])
    return torch.maximum(alpha.abs(), beta.abs())


def _has_all_steepest(
    form: SignalForm, matrices: list[Tensor], steepest: list[Tensor], signs: Tensor, value: float
) -> bool:
    """Whether some input has the steepest slope at every neuron, all of one sign."""
    hidden = [far_layer(s, matrix) for s, matrix in zip(form.stages, matrices, strict=False)]
    wanted, jacobian = [], torch.eye(matrices[0].shape[1], dtype=torch.float64)
    for layer, slopes in zip(hidden, steepest, strict=True):
        sides = layer.sides(slopes)
        if sides is None:
            return False
        jacobian = layer.weight @ jacobian
        wanted.append(sides[:, None] * jacobian)
        jacobian = slopes[:, None] * jacobian
    rays = rays_inside(torch.cat(wanted), hint=signs)
    return comes_close(value, rays, hidden, matrices[-1])


def _differences(rows: Rows) -> Iterable[Rows]:
    """For each output, the differences of all others from it; the error is that of one row."""
    for row in rows.matrix:
        matrix = rows.matrix - row
        rounding = mul_up(2.0**-52, size_up(matrix))
        error = add_up(mul_up(rows.error, 1.4142135623730952), rounding, SMALLEST_NORMAL)
        yield Rows(matrix, error)


def consistent_signs(matrices: Sequence[Tensor]) -> list[Tensor] | None:
    """Signs S with ``A_k = S_k |A_k| S_{k−1}``: of inputs, each layer, outputs; None if none exist.

    Every nonzero entry says whether two neurons have one sign.  Each neuron carries the smallest
    code ``2·label + sign`` that reaches it along such entries; neighbours end with one label.
    """
    sizes = [matrices[0].shape[1], *(len(matrix) for matrix in matrices)]
    codes = [2 * part for part in torch.split(torch.arange(sum(sizes)), sizes)]
    for _ in range(PASSES):
        before = codes
        for k, matrix in enumerate(matrices):
            codes = _passed_on(codes, matrix, k, k + 1)
        for k in reversed(range(len(matrices))):
            codes = _passed_on(codes, matrices[k].T, k + 1, k)
        if all(torch.equal(old, new) for old, new in zip(before, codes, strict=True)):
            break
    else:
        return None
    signs = [1.0 - 2.0 * (code % 2).double() for code in codes]
    for k, matrix in enumerate(matrices):
        if bool((signs[k + 1][:, None] * matrix * signs[k] < 0.0).any()):
            return None
    return signs


def _passed_on(codes: list[Tensor], matrix: Tensor, source: int, target: int) -> list[Tensor]:
    offered = torch.where(matrix < 0.0, codes[source] ^ 1, codes[source])
    offered = torch.where(matrix == 0.0, torch.iinfo(torch.int64).max, offered)
    best = offered.amin(1) if matrix.shape[1] else codes[target]
    return [*codes[:target], torch.minimum(codes[target], best), *codes[target + 1 :]]


def trimmed(matrices: Sequence[Tensor]) -> list[Tensor]:
    """The chain without the entries that no path from an input to an output goes through."""
    forward, fed = [], torch.ones(matrices[0].shape[1], dtype=torch.bool)
    for matrix in matrices:
        forward.append(matrix * fed)
        fed = (forward[-1] != 0.0).any(1)
    whole, read = [], torch.ones(len(matrices[-1]), dtype=torch.bool)
    for matrix in reversed(forward):
        whole.append(matrix * read[:, None])
        read = (whole[-1] != 0.0).any(0)
    return whole[::-1]
