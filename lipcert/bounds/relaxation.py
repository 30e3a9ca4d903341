"""From a signal form to the matrix inequality of LipSDP, part by part.

Each part of the model (see :mod:`lipcert.bounds.parts`) becomes one block.  Two parts that follow
one another share the pre-activation v between them: with multipliers D the first proves
``dvᵀ D dv ≤ …`` and the second starts from it, a diagonal coupling optimised with everything else.
A part may also be a box: only a Lipschitz constant of it is known, its couplings are one number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.bounds.coordinates import (
    Coefficients,
    Expression,
    StageRows,
    pre_activation,
    stage_rows,
    unit,
)
from lipcert.bounds.demands import demands_of
from lipcert.bounds.dominating import dominating_factor
from lipcert.conic.problem import Block, Problem
from lipcert.conic.rows import Piece, PieceRows
from lipcert.errors import SolverError
from lipcert.signals import SignalForm


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of the model; ``constant`` is its Lipschitz constant where that is all we use."""

    form: SignalForm
    constant: float | None = None


@dataclass
class _Numbering:
    """Hands out multipliers, and keeps the start of each."""

    start: list[Tensor] = field(default_factory=list)
    used: int = 0

    def take(self, values: Tensor) -> Tensor:
        """New multipliers with these starting values; their indices."""
        index = torch.arange(self.used, self.used + len(values), device=values.device)
        self.used += len(values)
        self.start.append(values)
        return index


def relax(parts: list[Part], context: BoundContext, *, per_layer: bool = False) -> Problem:
    """The matrix inequality of parts in order.

    Parameters
    ----------
    per_layer : one multiplier for each stage instead of one for each neuron or group.

    Raises SolverError where no strictly feasible start is found.
    """
    layers = sum(len(part.form.stages) + 1 for part in parts)
    makers = [
        _BlockMaker(part.form, context, reduce=place == 0)
        if part.constant is None
        else _BoxMaker(part.constant, context.device)
        for place, part in enumerate(parts)
    ]
    for margin in (1.0 / layers, 4.0 / layers, 1.0, 4.0, 16.0):
        problem = _with_margin(parts, makers, context, 1.0 + margin, per_layer=per_layer)
        if _is_strict(problem):
            return problem
    raise SolverError(
        "lipsdp",
        "finds no strictly feasible multipliers to start from: the weights span too many orders",
        "use --method averaged",
    )


def _is_strict(problem: Problem) -> bool:
    if not bool(torch.isfinite(problem.start).all()) or not bool((problem.start > 0.0).all()):
        return False
    scaled = problem.scaled(problem.start).problem
    return all(
        int(torch.linalg.cholesky_ex(block.slack(scaled.start))[1]) == 0 for block in scaled.blocks
    )


def _with_margin(
    parts: list[Part],
    makers: Sequence[_BlockMaker | _BoxMaker],
    context: BoundContext,
    margin: float,
    *,
    per_layer: bool,
) -> Problem:
    demand = 1.0
    demands = []
    for part in reversed(parts):
        own = demands_of(part.form, part.constant, demand, context, margin)
        demands.append(own)
        demand = own.entry
    demands.reverse()
    device = context.device
    numbers = _Numbering()
    start = torch.tensor([demands[0].entry], dtype=torch.float64, device=device)
    entry = numbers.take(start)
    blocks = []
    for place, (part, maker, own) in enumerate(zip(parts, makers, demands, strict=True)):
        later = parts[place + 1] if place + 1 < len(parts) else None
        local = maker.multipliers(numbers, own.multipliers, per_layer=per_layer)
        exits = None
        if later is not None:
            width = 1 if part.constant is not None or later.constant is not None else maker.outputs
            following = torch.full((width,), demands[place + 1].entry, dtype=torch.float64)
            exits = numbers.take(following.to(device))
        blocks.append(maker.block(entry, local, exits))
        if exits is not None:
            entry = exits
    signed = any(maker.signed for maker in makers)
    return Problem(tuple(blocks), torch.cat(numbers.start), signed)


class _BoxMaker:
    """The block of a part of which only a constant ℓ is known: ``d_in − ℓ² d_out ≥ 0``."""

    signed = False
    outputs = 1

    def __init__(self, constant: float, device: torch.device) -> None:
        self.constant = torch.full((1, 1), constant, dtype=torch.float64, device=device)
        self.device = device

    def multipliers(
        self, numbers: _Numbering, starts: list[float], *, per_layer: bool
    ) -> list[Tensor]:
        """None of its own."""
        return []

    def block(self, heads: Tensor, local: list[Tensor], exits: Tensor | None) -> Block:
        """A block of side 1."""
        none = torch.zeros(0, dtype=torch.float64, device=self.device)
        indices = torch.zeros(0, dtype=torch.int64, device=self.device)
        last = exits is None
        pieces = () if last else (Piece(0, 0, self.constant),)
        rows = PieceRows(0 if last else 1, 1, pieces)
        weight = none if last else torch.ones(1, dtype=torch.float64, device=self.device)
        return Block(
            inputs=1,
            rows=rows,
            centre=none,
            partner=None,
            head_weight=torch.ones(1, dtype=torch.float64, device=self.device),
            head_index=heads[:1],
            activation_weight=none,
            activation_index=indices,
            row_weight=weight,
            row_index=indices if exits is None else exits[:1],
            output=self.constant if last else self.constant[:0],
        )


class _BlockMaker:
    """The block of a part whose stages are all taken into the matrix inequality."""

    def __init__(self, form: SignalForm, context: BoundContext, *, reduce: bool) -> None:
        device = context.device
        self.device = device
        entry = math.prod(form.input_shape)
        signals: list[Expression] = [{0: unit(entry, device)}]
        self.stages: list[StageRows] = []
        for number, stage in enumerate(form.stages, start=1):
            context.progress(f"rows of {stage.node.name}", number / (len(form.stages) + 1))
            rows = stage_rows(number, stage, pre_activation(stage.terms, signals, device), device)
            self.stages.append(rows)
            signals.append(rows.signal)
        self.output = pre_activation(form.output_terms, signals, device)
        self.outputs = math.prod(form.output_shape)
        self.entry = entry
        self.signed = any(rows.signed for rows in self.stages)
        if reduce:
            self._reduce_input()

    def _reduce_input(self) -> None:
        """Replace the input by fewer coordinates that dominate it, where there are fewer rows."""
        readers = [rows.rows for rows in self.stages] + [self.output]
        reading = [expression[0] for expression in readers if 0 in expression]
        count = sum(len(part.matrix) for part in reading)
        if not reading or count >= self.entry:
            return
        factor = dominating_factor(reading)
        if factor is None:
            return
        start = 0
        for expression in readers:
            if 0 in expression:
                stop = start + len(expression[0].matrix)
                expression[0] = Coefficients(factor[start:stop].contiguous())
                start = stop
        self.entry = count

    def multipliers(
        self, numbers: _Numbering, starts: list[float], *, per_layer: bool
    ) -> list[Tensor]:
        """Indices of the multipliers of each stage's groups."""
        found = []
        for rows, value in zip(self.stages, starts, strict=True):
            count = 1 if per_layer else rows.groups
            values = torch.full((count,), value, dtype=torch.float64, device=self.device)
            index = numbers.take(values)
            found.append(index.expand(rows.groups) if per_layer else index)
        return found

    def block(self, heads: Tensor, local: list[Tensor], exits: Tensor | None) -> Block:
        """The block between its couplings; ``heads`` is one multiplier or one for each input."""
        offsets, side = {0: 0}, self.entry
        for number, rows in enumerate(self.stages, start=1):
            offsets[number] = side
            side += rows.size
        pieces: list[Piece] = []
        row_index, row_weight, start = [], [], 0
        partners: list[Tensor] = []
        for rows, own in zip(self.stages, local, strict=True):
            count = len(rows.row_group)
            partners.append(
                start + torch.arange(rows.size, device=self.device).clamp(max=max(0, count - 1))
            )
            pieces += _placed(rows.rows, start, offsets)
            row_index.append(own[rows.row_group])
            row_weight.append(rows.row_weight)
            start += count
        if exits is not None:
            pieces += _placed(self.output, start, offsets)
            row_index.append(exits.expand(self.outputs))
            row_weight.append(torch.ones(self.outputs, dtype=torch.float64, device=self.device))
            start += self.outputs
        partner = torch.cat(partners) if partners else torch.zeros(0, dtype=torch.int64)
        in_order = bool((partner == torch.arange(len(partner), device=partner.device)).all())
        output = torch.zeros(
            self.outputs if exits is None else 0, side, dtype=torch.float64, device=self.device
        )
        error = 0.0
        if exits is None:
            for place, part in self.output.items():
                output[:, offsets[place] : offsets[place] + part.matrix.shape[1]] += part.matrix
            error = sum(part.error for part in self.output.values()) * (1.0 + 1e-14)
        no_index = torch.zeros(0, dtype=torch.int64, device=self.device)
        no_weight = torch.zeros(0, dtype=torch.float64, device=self.device)
        activations = [
            own[rows.activation_group] for rows, own in zip(self.stages, local, strict=True)
        ]
        return Block(
            inputs=self.entry,
            rows=PieceRows(start, side, tuple(pieces)),
            centre=torch.cat([no_weight, *(rows.centre for rows in self.stages)]),
            partner=None if in_order else partner,
            head_weight=torch.ones(self.entry, dtype=torch.float64, device=self.device),
            head_index=heads.expand(self.entry),
            activation_weight=torch.ones(
                side - self.entry, dtype=torch.float64, device=self.device
            ),
            activation_index=torch.cat([no_index, *activations]),
            row_weight=torch.cat([no_weight, *row_weight]),
            row_index=torch.cat([no_index, *row_index]),
            output=output,
            output_error=error,
        )


def _placed(expression: Expression, row: int, offsets: dict[int, int]) -> list[Piece]:
    return [
        Piece(row, offsets[place], part.matrix, part.error) for place, part in expression.items()
    ]
