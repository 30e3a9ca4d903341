"""Parts that follow one another, joined by diagonal couplings into one problem."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.bounds.context import BoundContext
from lipcert.bounds.demands import demands_of
from lipcert.bounds.torus.head import (
    behind_channel_sums,
    channel_sums,
    dense_block,
    positions,
    times,
)
from lipcert.bounds.torus.part import TorusPart, torus_block
from lipcert.bounds.torus.reduction import MOST_ENTRY, GroupedEntry, grouped_entry, with_entry
from lipcert.conic.fourier import FourierBlock, Reading, Row, holding
from lipcert.conic.torus_start import central_start
from lipcert.errors import SolverError
from lipcert.operators import Shape
from lipcert.signals import SignalForm
from lipcert.spectral import NormBound
from lipcert.spectral.explicit import explicit_matrix
from lipcert.spectral.proof import largest_estimate


@dataclass(frozen=True, eq=False)
class Chain:
    """Convolutional parts in order, and what follows the last.

    Parameters
    ----------
    parts : each but the last ends in a signal that the next begins with.
    head : dense stages, or none and an output, behind the last part's signal; None where the last
        part ends the chain.
    most_entry : coordinates of the head's entry beyond which channels share couplings.
    """

    parts: list[TorusPart]
    head: SignalForm | None = None
    most_entry: int = MOST_ENTRY[0]

    @property
    def stages(self) -> int:
        """Of all parts and the head."""
        count = sum(len(part.form.stages) for part in self.parts)
        return count + (len(self.head.stages) if self.head else 0)

    @property
    def pooled(self) -> SignalForm | None:
        """The head behind the sums over channels, where it reads nothing else."""
        return None if self.head is None else behind_channel_sums(self.head)


@dataclass(frozen=True, eq=False)
class ChainProblem:
    """The families of a chain, and strictly feasible multipliers; y_0 is to be minimised.

    Parameters
    ----------
    seconds : that a look at all blocks took.
    """

    families: list[FourierBlock]
    start: Tensor
    seconds: float = 0.0


def chain_problem(chain: Chain, context: BoundContext) -> ChainProblem:
    """The matrix inequality of a chain.

    Raises SolverError where no strictly feasible start is found.
    """
    builder = _Builder(chain, context)
    central = central_start(builder.families, builder.used)
    if central is not None:
        began = time.monotonic()
        for family in builder.families:
            holding(family, central)
        return ChainProblem(builder.families, central, time.monotonic() - began)
    margins = [m / (chain.stages + 1) for m in (0.05, 0.2, 1.0, 4.0)] + [1.0, 4.0, 16.0]
    for margin in margins:
        start = builder.start(1.0 + margin)
        fine = bool(torch.isfinite(start).all()) and bool((start > 0.0).all())
        began = time.monotonic()
        if fine and all(bool(holding(family, start).all()) for family in builder.families):
            return ChainProblem(builder.families, start, time.monotonic() - began)
    raise SolverError(
        "lipsdp",
        "finds no strictly feasible multipliers to start from: the weights span too many orders",
        "use --method averaged",
    )


class _Builder:
    """Numbers the multipliers once, makes the families, and tries starts."""

    def __init__(self, chain: Chain, context: BoundContext) -> None:
        self.chain, self.context = chain, context
        self.device = context.device
        self.used = 1
        self.slots: list[tuple[int, str, int]] = []  # multipliers, kind, of which form
        self.forms = [part.form for part in chain.parts]
        self.families: list[FourierBlock] = []
        self.entry: GroupedEntry | None = None
        self._make()
        self.norms = self._torus_norms()

    def _torus_norms(self) -> BoundContext:
        """A context that knows operators by their size on the torus: for a start alone."""
        found = BoundContext(settings=self.context.settings)
        for part, family in zip(self.chain.parts, self.families, strict=False):
            tables = [stage.terms for stage in part.form.stages]
            reads = stage_reads(family)
            if self.chain.head is None:  # what ends in a coupling reads its last signal as it is
                tables, reads = [*tables, part.form.output_terms], [*reads, family.output]
            for terms, readings in zip(tables, reads, strict=False):
                for source, reading in readings.items():
                    if source in terms:
                        size = NormBound(largest_singular_estimate(reading.matrix), "torus")
                        found.norms[id(terms[source])] = terms[source], size
        return found

    def _take(self, count: int, kind: str, number: int) -> Tensor:
        index = torch.arange(self.used, self.used + count, device=self.device)
        self.used += count
        self.slots.append((count, kind, number))
        return index

    def _make(self) -> None:
        chain, device = self.chain, self.device
        heads = torch.zeros(chain.parts[0].size(0), dtype=torch.int64, device=device)
        pooled = chain.pooled
        for number, part in enumerate(chain.parts):
            own = [
                self._take(part.size(k), f"stage {k}", number)
                for k in range(1, len(part.form.stages) + 1)
            ]
            last = number + 1 == len(chain.parts)
            if last and chain.head is None:
                self.families.append(torus_block(part, heads, own, None, device))
            elif last and pooled is not None:
                self._pooled(part, heads, own, pooled, number)
            else:
                heads = self._coupled(part, heads, own, number)
        if chain.head is not None and pooled is None:
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
            coupling = self._take(shape[1] * math.prod(common), "entry", number + 1)
            exits, entering = coupling[leaving], coupling[labels.to(self.device)]
        else:
            coupling = self._take(grouped.groups, "entry", number + 1)
            exits = coupling[grouped.group_of[leaving]]
            entering = coupling.repeat_interleave(grouped.size // grouped.groups)
        self.families.append(torus_block(part, heads, own, exits, self.device))
        return entering

    def _head(self, head: SignalForm, heads: Tensor) -> None:
        own = [
            self._take(stage.input_size, f"stage {k}", len(self.forms))
            for k, stage in enumerate(head.stages, start=1)
        ]
        self.forms.append(head)
        if self.entry is None:
            self.families.append(dense_block(head, heads, own, self.device))
        else:
            bare = dense_block(head, heads[:0], own, self.device)
            self.families.append(with_entry(bare, self.entry, heads))

    def _pooled(
        self, part: TorusPart, heads: Tensor, own: list[Tensor], head: SignalForm, number: int
    ) -> None:
        """A part whose channels are summed: an output of its own, or a coupling at frequency 0."""
        device, last = self.device, part.last - 1
        bare = torus_block(part, heads, own, torch.zeros(0, dtype=torch.int64), device)
        sums = channel_sums(part, last, device)
        rows = bare.rows[:-1]
        if not head.stages:
            matrix, error = explicit_matrix(head.output_terms[0], device)
            output = {last: times(matrix, error, sums)}
            self.families.append(FourierBlock(bare.sizes, heads, rows, output))
            return
        coupling = self._take(part.form.output_shape[1], "entry", number + 1)
        zero = torch.zeros(len(coupling), dtype=torch.float64, device=device)
        exit_row = Row(None, {last: Reading(sums.matrix, sums.error)}, zero, zero + 1.0, coupling)
        self.families.append(FourierBlock(bare.sizes, heads, (*rows, exit_row), {}))
        self._head(head, coupling)

    def start(self, margin: float) -> Tensor:
        """Multipliers by AutoLip's recursion from the output back."""
        forms = list(self.forms)
        pooled = self.chain.pooled
        scale = 1.0
        if pooled is not None:
            # the sum over a channel of n positions is √n-Lipschitz, over the torus a little more
            part = self.chain.parts[-1]
            fine = math.prod(part.geometry.coarse) * part.geometry.count(part.last - 1)
            scale = float(fine)
        demand = 1.0
        found = []
        for place in range(len(forms) - 1, -1, -1):
            if pooled is not None and place == len(self.chain.parts) - 1:
                if not pooled.stages:
                    norm = self.norms.norm_of(pooled.output_terms[0]).value
                    demand = norm * norm
                demand *= scale
            own = demands_of(forms[place], None, demand, self.norms, margin)
            found.append(own)
            demand = own.entry
        found.reverse()
        values = [found[0].entry]
        for count, kind, number in self.slots:
            name, _, stage = kind.partition(" ")
            own = found[number]
            value = own.entry if name == "entry" else own.multipliers[int(stage) - 1]
            values += [value] * count
        return torch.tensor(values, dtype=torch.float64, device=self.device)


def stage_reads(family: FourierBlock) -> list[Mapping[int, Reading]]:
    """What each stage reads: of windows, every input of each."""
    found: list[Mapping[int, Reading]] = []
    for row in family.rows if family.output else family.rows[:-1]:
        if row.group is not None:
            found.append(row.reads)
        else:
            found[-1] = row.reads
    return found


def largest_singular_estimate(matrices: Tensor) -> float:
    """About the largest singular value of a batch ``(B, m, n)``."""
    m, n = matrices.shape[1:]
    if not matrices.numel():
        return 0.0
    gram = matrices @ matrices.mH if m <= n else matrices.mH @ matrices
    return math.sqrt(max(largest_estimate(gram), 0.0))
