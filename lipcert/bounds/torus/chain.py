"""Parts that follow one another, joined by diagonal couplings into one problem."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.bounds.torus.head import (
    behind_channel_sums,
    channel_sums,
    dense_block,
    positions,
    times,
)
from lipcert.bounds.torus.part import TorusPart, torus_block
from lipcert.bounds.torus.readers import Reader, demanded, is_readable, readers_of
from lipcert.bounds.torus.reduction import MOST_ENTRY, GroupedEntry, grouped_entry, with_entry
from lipcert.conic.fourier import FourierBlock, Reading, Row, holding
from lipcert.conic.torus_start import central_start
from lipcert.errors import SolverError
from lipcert.operators import Shape
from lipcert.signals import SignalForm
from lipcert.spectral.explicit import explicit_matrix


@dataclass(frozen=True, eq=False)
class Chain:
    """Convolutional parts in order, and what follows the last.

    Parameters
    ----------
    parts : each but the last ends in a signal that the next begins with.
    head : dense stages, or none and an output, behind the last part's signal; None where the last
        part ends the chain.
    most_entry : coordinates of the head's entry beyond which channels share couplings.
    joins : whether the head's multipliers are in one problem with those of the parts.  Else the
        parts' are chosen by what reads their last image, and the head is bounded behind them.
    """

    parts: list[TorusPart]
    head: SignalForm | None = None
    most_entry: int = MOST_ENTRY[0]
    joins: bool = True

    @property
    def stages(self) -> int:
        """Of all parts and the head."""
        count = sum(len(part.form.stages) for part in self.parts)
        return count + (len(self.head.stages) if self.head else 0)

    @property
    def couplings(self) -> int:
        """Diagonal ones, between the parts and with a head that joins them."""
        return len(self.parts) - (self.head is None or not self.joins)

    @property
    def pooled(self) -> SignalForm | None:
        """The head behind the sums over channels, where it joins and reads nothing else."""
        return behind_channel_sums(self.head) if self.head is not None and self.joins else None


@dataclass(frozen=True, eq=False)
class ChainProblem:
    """The families of a chain, and strictly feasible multipliers; y_0 is to be minimised.

    Parameters
    ----------
    last : blocks of the last part, their last row what it ends in; None where no head follows.
    neurons : the multipliers of the head's neurons.
    readers : what reads the last image, by stage of the head; None where many rows do.
    seconds : that a look at all blocks took.
    """

    families: list[FourierBlock]
    start: Tensor
    last: FourierBlock | None
    neurons: Tensor
    readers: Mapping[int, Reader] | None = None
    seconds: float = 0.0


def chain_problem(chain: Chain, context: BoundContext) -> ChainProblem:
    """The matrix inequality of a chain.

    Raises SolverError where no strictly feasible start is found.
    """
    builder = _Builder(chain, context)
    start = central_start(builder.families, builder.used)
    if start is not None:
        began = time.monotonic()
        for family in builder.families:
            holding(family, start)
        seconds = time.monotonic() - began
        return ChainProblem(
            builder.families, start, builder.last, builder.neurons, builder.readers, seconds
        )
    raise SolverError(
        "lipsdp",
        "finds no strictly feasible multipliers to start from: the weights span too many orders",
        "use --method averaged",
    )


class _Builder:
    """Numbers the multipliers and makes the families."""

    def __init__(self, chain: Chain, context: BoundContext) -> None:
        self.chain, self.context = chain, context
        self.device = context.device
        self.used = 1
        self.families: list[FourierBlock] = []
        self.entry: GroupedEntry | None = None
        self.last: FourierBlock | None = None
        self.neurons = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.readers = self._readers()
        self._make()

    def _readers(self) -> dict[int, Reader] | None:
        head, part = self.chain.head, self.chain.parts[-1]
        if head is None or not is_readable(head):
            return None
        geometry = part.geometry
        return readers_of(head, geometry.coarse, geometry.phases[part.last], self.device)

    def _take(self, count: int) -> Tensor:
        index = torch.arange(self.used, self.used + count, device=self.device)
        self.used += count
        return index

    def _make(self) -> None:
        chain, device = self.chain, self.device
        heads = torch.zeros(chain.parts[0].size(0), dtype=torch.int64, device=device)
        pooled = chain.pooled
        for number, part in enumerate(chain.parts):
            own = [self._take(part.size(k)) for k in range(1, len(part.form.stages) + 1)]
            last = number + 1 == len(chain.parts)
            if last and chain.head is None:
                self.families.append(torus_block(part, heads, own, None, device))
            elif last and not chain.joins:
                self._demanding(part, heads, own)
            elif last and pooled is not None:
                self._pooled(part, heads, own, pooled)
            else:
                heads = self._coupled(part, heads, own, number)
        if chain.head is not None and chain.joins and pooled is None:
            self._head(chain.head, heads)

    def _coupled(self, part: TorusPart, heads: Tensor, own: list[Tensor], number: int) -> Tensor:
        """A part that ends in a coupling; the multipliers of the next entry's coordinates."""
        exit_phases = part.geometry.phases[part.last]
        later = self.chain.parts[number + 1] if number + 1 < len(self.chain.parts) else None
        common: Shape = exit_phases
        if later is not None:
            pairs = zip(exit_phases, later.geometry.phases[0], strict=True)
            common = tuple(math.gcd(q, p) for q, p in pairs)
        shape, leaving = part.form.output_shape, part.labels(part.last, common).to(self.device)
        if later is None and self.chain.head is not None:
            labels = positions(shape, common)
            self.entry = grouped_entry(self.chain.head, labels, self.chain.most_entry, self.device)
        else:
            assert later is not None
            labels = later.labels(0, common)
        grouped = self.entry
        if grouped is None:
            coupling = self._take(shape[1] * math.prod(common))
            exits, entering = coupling[leaving], coupling[labels.to(self.device)]
        else:
            coupling = self._take(grouped.groups)
            exits = coupling[grouped.group_of[leaving]]
            entering = coupling.repeat_interleave(grouped.size // grouped.groups)
        self.families.append(torus_block(part, heads, own, exits, self.device))
        self.last = self.families[-1]
        return entering

    def _head(self, head: SignalForm, heads: Tensor) -> None:
        own = [self._take(stage.input_size) for stage in head.stages]
        self.neurons = torch.cat([self.neurons, *own])
        if self.entry is None:
            self.families.append(dense_block(head, heads, own, self.device))
        else:
            bare = dense_block(head, heads[:0], own, self.device)
            self.families.append(with_entry(bare, self.entry, heads))

    def _demanding(self, part: TorusPart, heads: Tensor, own: list[Tensor]) -> None:
        """A part whose output is what a head that does not join demands of its last image."""
        block = torus_block(part, heads, own, None, self.device)
        zero = torch.zeros(part.size(part.last), dtype=torch.float64, device=self.device)
        exit_row = Row(None, block.output, zero, zero + 1.0, heads[:0])
        self.last = replace(block, rows=(*block.rows, exit_row), output={})
        assert self.readers is not None  # or it would join
        root = demanded(self.readers.values())
        output = {g: Reading(root @ reading.matrix) for g, reading in block.output.items()}
        self.families.append(replace(block, output=output))

    def _pooled(self, part: TorusPart, heads: Tensor, own: list[Tensor], head: SignalForm) -> None:
        """A part whose channels are summed: an output of its own, or a coupling at frequency 0."""
        device, last = self.device, part.last - 1
        bare = torus_block(part, heads, own, torch.zeros(0, dtype=torch.int64), device)
        self.last = bare
        sums = channel_sums(part, last, device)
        rows = bare.rows[:-1]
        if not head.stages:
            matrix, error = explicit_matrix(head.output_terms[0], device)
            output = {last: times(matrix, error, sums)}
            self.families.append(FourierBlock(bare.sizes, heads, rows, output))
            return
        coupling = self._take(part.form.output_shape[1])
        zero = torch.zeros(len(coupling), dtype=torch.float64, device=device)
        exit_row = Row(None, {last: Reading(sums.matrix, sums.error)}, zero, zero + 1.0, coupling)
        self.families.append(FourierBlock(bare.sizes, heads, (*rows, exit_row), {}))
        self._head(head, coupling)
