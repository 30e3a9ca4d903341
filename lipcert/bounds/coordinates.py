"""The signals of a part of a model as matrices over the coordinates of its matrix inequality.

A coordinate block belongs to the part's input (0) or to a stage (by number).  Most signals are
their own coordinates.  A sort keeps the sum of each group and does not lengthen what is left, so
its signal is the mean of its pre-activation, which passes linearly, and a deviation from it, the
only coordinates that it adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.nonlinear.base import Groups
from lipcert.operators import LinearOperator, is_identity
from lipcert.rounding import add_up, gamma, mul_up
from lipcert.signals import Stage, Terms
from lipcert.spectral.explicit import explicit_matrix
from lipcert.spectral.tensors import frobenius_up


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A matrix and a bound of its spectral distance to the true one."""

    matrix: Tensor
    error: float = 0.0

    @property
    def size(self) -> float:
        """Bound of the spectral norm of the stored matrix: its Frobenius norm."""
        return float(frobenius_up(self.matrix[None])) if self.matrix.numel() else 0.0

    def times(self, other: Coefficients) -> Coefficients:
        """The product, with what rounding and both errors add."""
        product = self.matrix @ other.matrix
        sizes = self.size, other.size
        error = add_up(
            mul_up(sizes[0], sizes[1], gamma(self.matrix.shape[1] + 2)),
            mul_up(self.error, sizes[1]),
            mul_up(sizes[0], other.error),
            mul_up(self.error, other.error),
        )
        return Coefficients(product, error)

    def plus(self, other: Coefficients) -> Coefficients:
        """The sum."""
        total = self.matrix + other.matrix
        rounding = mul_up(2.0**-52, float(frobenius_up(total[None]))) if total.numel() else 0.0
        return Coefficients(total, add_up(self.error, other.error, rounding))


Expression = dict[int, Coefficients]
"""A signal by coordinate block: ``Σ_b matrix_b · coordinates_b``."""


def pre_activation(terms: Terms, signals: list[Expression], device: torch.device) -> Expression:
    """``Σ_j A_j z_j`` over the coordinates."""
    total: Expression = {}
    for signal, operator in terms.items():
        for block, part in _applied(operator, signals[signal], device).items():
            total[block] = total[block].plus(part) if block in total else part
    return total


def _applied(operator: LinearOperator, signal: Expression, device: torch.device) -> Expression:
    if is_identity(operator):
        return signal
    own = Coefficients(*explicit_matrix(operator, device))
    return {block: own if _is_unit(part) else own.times(part) for block, part in signal.items()}


def _is_unit(part: Coefficients) -> bool:
    matrix, size = part.matrix, part.matrix.shape[0]
    if part.error != 0.0 or matrix.shape[1] != size:
        return False
    return bool((matrix.diagonal() == 1.0).all()) and int(matrix.count_nonzero()) == size


def unit(size: int, device: torch.device) -> Coefficients:
    """The identity."""
    return Coefficients(torch.eye(size, dtype=torch.float64, device=device))


@dataclass(frozen=True, eq=False)
class StageRows:
    """What a stage adds to the matrix inequality.

    Parameters
    ----------
    rows : the pre-activations that its constraints read, over the coordinates.
    size : number of coordinates that it adds.
    centre : ``(size,)`` slopes c taken off; each belongs to the row of the same number.
    row_weight : ``(rows,)``, r² or the squared constant of a joint map.
    activation_group, row_group : which of the stage's multipliers each coordinate and row has.
    groups : number of multipliers.
    signal : the stage's output over the coordinates, its own numbered by the stage.
    signed : whether slopes all of one sign could make a multiplier negative.
    """

    rows: Expression
    size: int
    centre: Tensor
    row_weight: Tensor
    activation_group: Tensor
    row_group: Tensor
    groups: int
    signal: Expression
    signed: bool = False


SMALLEST_HALF_WIDTH = 1e-5
"""Least half-width of a slope interval, in units of its centre: a wider one is sound too."""


def stage_rows(number: int, stage: Stage, v: Expression, device: torch.device) -> StageRows:
    """The rows of one stage with pre-activation v."""
    if stage.nonlinearity.slopes is not None:
        return _elementwise(number, stage, v, device)
    shapes, count = stage.input_shapes, math.prod(stage.shape)
    groups = stage.nonlinearity.groups(*shapes, outputs=count)
    if groups.rearranges:
        return _sorted(number, groups, v, device)
    return _joint(number, groups, v, device)


def _elementwise(number: int, stage: Stage, v: Expression, device: torch.device) -> StageRows:
    slopes = stage.nonlinearity.slopes
    assert slopes is not None
    count = stage.input_size
    shape = stage.input_shapes[0]

    def spread(value: float | Tensor) -> Tensor:
        flat = torch.as_tensor(value, dtype=torch.float64).expand(shape).reshape(-1)
        return flat.to(device)

    centre, width = spread(slopes.centre), spread(slopes.half_width)
    width = torch.maximum(width, SMALLEST_HALF_WIDTH * centre.abs() + 1e-300)
    one_sign = spread(slopes.alpha) * spread(slopes.beta) > 0.0
    live = _live(v)
    if live is not None:  # a neuron that reads nothing does not move: its multiplier has no end
        v = {block: Coefficients(part.matrix[live], part.error) for block, part in v.items()}
        centre, width, one_sign, count = centre[live], width[live], one_sign[live], len(live)
    own = torch.eye(stage.input_size, dtype=torch.float64, device=device)
    signal = {number: Coefficients(own if live is None else own[:, live])}
    every = torch.arange(count, device=device)
    square = torch.nextafter(width.square(), torch.full_like(width, math.inf))
    exact = width * 2.0 == (width * 2.0).round()  # halves of small integers square exactly
    return StageRows(
        v,
        count,
        centre,
        torch.where(exact & (width < 1e7), width.square(), square),
        every,
        every,
        count,
        signal,
        bool(one_sign.any()),
    )


def _live(v: Expression) -> Tensor | None:
    """The rows that are not zero; None where all are to be kept."""
    if not v or any(part.error > 0.0 for part in v.values()):
        return None
    reading = torch.stack([(part.matrix != 0.0).any(1) for part in v.values()]).any(0)
    return None if bool(reading.all()) else reading.nonzero()[:, 0]


def _joint(number: int, groups: Groups, v: Expression, device: torch.device) -> StageRows:
    elements, labels = (index.to(device) for index in groups.reads)
    outputs = groups.outputs.to(device)
    count, reads = len(outputs), len(elements)
    in_order = reads == next(iter(v.values())).matrix.shape[0] and bool(
        (elements == torch.arange(reads, device=device)).all()
    )
    rows = v if in_order else _taken(v, elements)
    constant = groups.constant
    square = math.nextafter(constant * constant, math.inf) if constant != 1.0 else 1.0
    return StageRows(
        rows,
        count,
        torch.zeros(count, dtype=torch.float64, device=device),
        torch.full((reads,), square, dtype=torch.float64, device=device),
        outputs,
        labels,
        int(torch.cat((labels, outputs)).max()) + 1,
        {number: unit(count, device)},
    )


def _taken(v: Expression, elements: Tensor) -> Expression:
    """Some rows of v; a row may be taken several times."""
    most = math.sqrt(int(torch.bincount(elements).max())) if elements.numel() else 1.0
    return {
        block: Coefficients(part.matrix[elements], mul_up(part.error, most * (1.0 + 1e-15)))
        for block, part in v.items()
    }


def _sorted(number: int, groups: Groups, v: Expression, device: torch.device) -> StageRows:
    """A sort: ``1ᵀz = 1ᵀv`` on every group, and ``‖Uᵀz‖ ≤ ‖Uᵀv‖`` for U spanning what is left.

    Sorting is 1-Lipschitz and keeps the sum s of a group, so ``‖dz‖² = ds²/g + ‖Uᵀdz‖²`` is at
    most ``‖dv‖² = ds²/g + ‖Uᵀdv‖²``.  A linear equation needs no multiplier: the sum is
    eliminated, which is never weaker than the quadratic constraints with free multipliers of
    Pauli et al. 2023.  For pairs ``Uᵀz = |Uᵀv|`` up to sign: one neuron with slopes in [−1, 1].
    """
    elements, labels = (index.to(device) for index in groups.reads)
    order = labels.argsort(stable=True)
    count = int(labels.max()) + 1
    members = elements[order].reshape(count, -1)
    places = groups.outputs.to(device).argsort(stable=True).reshape(count, -1)
    size = members.shape[1]
    basis, basis_error = _deviations(size, device)
    added = count * (size - 1)
    group = torch.arange(count, device=device).repeat_interleave(size - 1)
    rows: Expression = {}
    signal: Expression = {}
    total = places.numel()
    for block, part in v.items():
        taken = part.matrix[members]  # (groups, size, coordinates)
        width = taken.shape[2]
        deviation = torch.einsum("sd,gsc->gdc", basis, taken).reshape(added, width)
        mean = taken.mean(1, keepdim=True).expand(-1, size, -1).reshape(total, width)
        spread = torch.empty_like(mean)
        spread[places.reshape(-1)] = mean
        # no |Uᵀ| has a norm above 3 (Hardy's inequality): γ_size three times, and some products
        rounding = mul_up(Coefficients(taken.reshape(total, width)).size, gamma(3 * size + 12))
        error = add_up(part.error, rounding)
        rows[block] = Coefficients(
            deviation, add_up(error, mul_up(basis_error, Coefficients(part.matrix).size))
        )
        signal[block] = Coefficients(spread, error)
    own = torch.zeros(total, added, dtype=torch.float64, device=device)
    for member in range(size):
        for direction in range(size - 1):
            columns = torch.arange(count, device=device) * (size - 1) + direction
            own[places[:, member], columns] = basis[member, direction]
    signal[number] = Coefficients(own, basis_error)
    zeros = torch.zeros(added, dtype=torch.float64, device=device)
    return StageRows(rows, added, zeros, zeros + 1.0, group, group, count, signal)


def _deviations(size: int, device: torch.device) -> tuple[Tensor, float]:
    """An orthonormal basis ``(size, size − 1)`` of the vectors of sum zero (Helmert), its error."""
    basis = torch.zeros(size, size - 1, dtype=torch.float64, device=device)
    for k in range(1, size):
        basis[:k, k - 1] = 1.0 / math.sqrt(k * (k + 1))
        basis[k, k - 1] = -k / math.sqrt(k * (k + 1))
    return basis, 8.0 * 2.0**-53 * size
