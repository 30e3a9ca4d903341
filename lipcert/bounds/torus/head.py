"""What follows the images: dense stages as one more block, or a mean over each channel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.torus.part import TorusPart
from lipcert.bounds.torus.readings import product
from lipcert.bounds.torus.slopes import centre_and_square
from lipcert.conic.cost import FamilySize, RowSize
from lipcert.conic.fourier import FourierBlock, Reading, Row
from lipcert.nonlinear.base import Slopes
from lipcert.operators import (
    Adjoint,
    Indexing,
    LinearOperator,
    Reshape,
    Shape,
    Transpose,
    compose,
    identity,
)
from lipcert.operators.composed import factors_of
from lipcert.rounding import UNIT_ROUNDOFF
from lipcert.signals import SignalForm, Stage, Terms
from lipcert.spectral.explicit import explicit_matrix


@dataclass(frozen=True)
class Entry:
    """The form behind an operator that all of its readers of signal 0 begin with."""

    form: SignalForm
    operator: LinearOperator


def behind_common_entry(form: SignalForm) -> Entry | None:
    """The form without the first factor that all readers of its input share, and that factor."""
    tables = [*(stage.terms for stage in form.stages), form.output_terms]
    readers = [terms[0] for terms in tables if 0 in terms]
    firsts = [factors_of(reader)[-1] if factors_of(reader) else None for reader in readers]
    first = firsts[0] if firsts else None
    if first is None or any(other is not first and not _same(other, first) for other in firsts):
        return None

    def stripped(terms: Terms) -> Terms:
        if 0 not in terms:
            return terms
        rest = factors_of(terms[0])[:-1]
        assert first is not None
        return {**terms, 0: compose(*rest, identity(first.out_shape))}

    stages = tuple(replace(stage, terms=stripped(stage.terms)) for stage in form.stages)
    shorter = replace(
        form, input_shape=first.out_shape, stages=stages, output_terms=stripped(form.output_terms)
    )
    return Entry(shorter, first)


def _same(one: LinearOperator | None, other: LinearOperator) -> bool:
    """Whether two operators are the same rearrangement or sum."""
    if isinstance(one, Adjoint) and isinstance(other, Adjoint):
        return _same(one.operator, other.operator)
    if not isinstance(one, Indexing) or not isinstance(other, Indexing):
        return False
    same = one.in_shape == other.in_shape and one.out_shape == other.out_shape
    return same and torch.equal(one.index, other.index)


def without_rearranged_input(form: SignalForm) -> SignalForm:
    """The same map up to a permutation of the input's elements, which changes no l2 constant."""
    entry = behind_common_entry(form)
    if entry is None or not isinstance(entry.operator, Reshape | Transpose):
        return form
    return without_rearranged_input(entry.form)


def behind_channel_sums(form: SignalForm) -> SignalForm | None:
    """The form behind the sum over each channel of its input image, where it reads nothing else."""
    entry = behind_common_entry(form)
    if entry is None or not isinstance(entry.operator, Adjoint):
        return None
    spread = entry.operator.operator
    if not isinstance(spread, Indexing) or len(form.input_shape) < 3 or form.input_shape[0] != 1:
        return None
    channels = form.input_shape[1]
    wanted = torch.arange(channels)[:, None].expand(channels, math.prod(form.input_shape[2:]))
    index = spread.index.reshape(channels, -1)
    same = index.shape == wanted.shape and bool((index == wanted.to(index.device)).all())
    return entry.form if same and spread.in_size == channels else None


def channel_sums(part: TorusPart, signal: int, device: torch.device) -> Reading:
    """The sums over the window of each channel of an image, ``(frequencies, C, size)``.

    The embedded signal is zero outside the window, so the sum runs over the whole torus: it reads
    frequency 0 alone, where the unitary transform of an image has ``Σ_μ z / √N``.
    """
    geometry = part.geometry
    count, phases = math.prod(geometry.coarse), geometry.count(signal)
    size = part.size(signal)
    channels = size // phases
    matrix = torch.zeros(
        geometry.frequencies, channels, size, dtype=torch.complex128, device=device
    )
    rows = torch.arange(channels, device=device).repeat_interleave(phases)
    matrix[0, rows, torch.arange(size, device=device)] = math.sqrt(count)
    error = 4.0 * UNIT_ROUNDOFF * math.sqrt(count * phases)
    return Reading(matrix, error)


def times(left: Tensor, left_error: float, right: Reading) -> Reading:
    """A real matrix times a reading."""
    return product(Reading(left[None], left_error), right)


def is_dense(form: SignalForm) -> bool:
    """Whether every stage acts element by element."""
    return all(_is_elementwise(stage) for stage in form.stages)


def _is_elementwise(stage: Stage) -> bool:
    slopes = stage.nonlinearity.slopes
    if slopes is None or len(stage.input_shapes) != 1:
        return False
    ends = (torch.as_tensor(end, dtype=torch.float64) for end in (slopes.alpha, slopes.beta))
    return all(bool(torch.isfinite(end).all()) for end in ends)


def dense_size(form: SignalForm) -> FamilySize:
    """What the cost of the block of a form depends on."""
    rows = [
        RowSize(form.size(number), number, tuple(sorted(stage.terms)))
        for number, stage in enumerate(form.stages, start=1)
    ]
    reading = [neuron_slopes(stage) for stage in form.stages if 0 in stage.terms]
    return FamilySize(
        tuple(form.size(signal) for signal in range(len(form.stages) + 1)),
        rows,
        tuple(sorted(form.output_terms)),
        entry_is_diagonal=0 not in form.output_terms
        and all(bool((centre.square() == square).all()) for centre, square in reading),
        is_complex=False,
        frequencies=1,
        taking_part=1,
    )


def neuron_slopes(stage: Stage) -> tuple[Tensor, Tensor]:
    """Centres and squared half-widths of the slopes, for each neuron."""
    slopes = stage.nonlinearity.slopes
    assert slopes is not None
    ends = [
        torch.as_tensor(end, dtype=torch.float64).expand(stage.input_shapes[0]).reshape(-1)
        for end in (slopes.alpha, slopes.beta)
    ]
    return centre_and_square(Slopes(*ends))


def dense_block(
    form: SignalForm, heads: Tensor, own: list[Tensor], device: torch.device
) -> FourierBlock:
    """One real block for a form of elementwise stages; a multiplier for each neuron."""
    rows = []
    for number, (stage, index) in enumerate(zip(form.stages, own, strict=True), start=1):
        centre, below = (value.to(device) for value in neuron_slopes(stage))
        rows.append(Row(number, _explicit(stage.terms, device), centre, below, index))
    sizes = tuple(form.size(signal) for signal in range(len(form.stages) + 1))
    return FourierBlock(sizes, heads, tuple(rows), _explicit(form.output_terms, device))


def _explicit(terms: Terms, device: torch.device) -> dict[int, Reading]:
    found = {}
    for signal, operator in terms.items():
        matrix, error = explicit_matrix(operator, device)
        found[signal] = Reading(matrix[None].contiguous(), error)
    return found


def positions(shape: Shape, common: Shape) -> Tensor:
    """Which (channel, position modulo ``common``) each element of an image belongs to."""
    folded = torch.zeros(1, dtype=torch.int64)
    for n, g in zip(shape[2:], common, strict=True):
        folded = (folded[:, None] * g + torch.arange(n) % g).reshape(-1)
    channels = torch.arange(shape[1])
    return (channels[:, None] * math.prod(common) + folded).reshape(-1)
