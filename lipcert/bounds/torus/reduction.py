"""A dense head that reads a large image through few rows: fewer coordinates, few couplings.

Where a group of coordinates has one coupling d, only the span of the rows A that read them counts:
a square factor M with ``M Mᵀ ≽ A Aᵀ`` on as many coordinates as there are rows replaces them.  With
a group for every channel nothing would be gained, so channels that are read alike share one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.bounds.coordinates import Coefficients
from lipcert.bounds.dominating import dominating_factor
from lipcert.conic.fourier import FourierBlock, Reading, Row
from lipcert.signals import SignalForm
from lipcert.spectral.explicit import explicit_matrix

MOST_ENTRY = (1 << 15, 1100, 400)
"""Coordinates of a head's entry from which channels share couplings: the first that is affordable.
"""


@dataclass(frozen=True, eq=False)
class GroupedEntry:
    """A smaller entry of a head.

    Parameters
    ----------
    group_of : the group of each label.
    groups : their number.
    readers : by stage, the output as one beyond the last, its rows over the new entry.
    size : coordinates of the new entry, ``rows`` for each group in order.
    """

    group_of: Tensor
    groups: int
    readers: dict[int, Tensor]
    size: int


def reading_rows(head: SignalForm) -> int:
    """How many rows read the entry of a head."""
    tables = [*(stage.terms for stage in head.stages), head.output_terms]
    return sum(terms[0].out_size for terms in tables if 0 in terms)


def entry_groups(head: SignalForm, most: int) -> int | None:
    """Into how many groups an entry of more than ``most`` falls; None where it stays as it is."""
    rows = reading_rows(head)
    entry = head.size(0)
    groups = max(1, most // max(1, rows))
    return groups if entry > most and rows * groups < entry else None


def grouped_entry(
    head: SignalForm, labels: Tensor, most: int, device: torch.device
) -> GroupedEntry | None:
    """The smaller entry; None where the head is small or no factor is proved.

    Parameters
    ----------
    labels : of each element of the entry, those that could have a coupling of their own.
    most : coordinates that the entry may have.
    """
    groups = entry_groups(head, most)
    if groups is None:
        return None
    tables = [*(stage.terms for stage in head.stages), head.output_terms]
    parts = {
        number: Coefficients(*explicit_matrix(terms[0], device))
        for number, terms in enumerate(tables, start=1)
        if 0 in terms
    }
    labels = labels.to(device)
    count = int(labels.max()) + 1
    groups = min(groups, count)
    sizes = torch.zeros(count, dtype=torch.float64, device=device)
    for part in parts.values():
        sizes.index_add_(0, labels, part.matrix.square().sum(0))
    order = sizes.argsort()
    group_of = torch.empty_like(order)
    group_of[order] = torch.arange(count, device=device) * groups // count
    factors = []
    for group in range(groups):
        own = group_of[labels] == group
        factor = dominating_factor(
            [Coefficients(part.matrix[:, own], part.error) for part in parts.values()]
        )
        if factor is None:
            return None
        factors.append(factor)
    readers, start = {}, 0
    for number, part in parts.items():
        stop = start + len(part.matrix)
        readers[number] = torch.cat([factor[start:stop] for factor in factors], dim=1)
        start = stop
    return GroupedEntry(group_of, groups, readers, start * groups)


def with_entry(block: FourierBlock, entry: GroupedEntry, heads: Tensor) -> FourierBlock:
    """A head's block on its smaller entry; ``heads`` are the multipliers of its coordinates."""
    rows = []
    for number, row in enumerate(block.rows, start=1):
        reads = dict(row.reads)
        if number in entry.readers:
            reads[0] = Reading(entry.readers[number][None].contiguous())
        rows.append(Row(row.group, reads, row.centre, row.below, row.index))
    output = dict(block.output)
    last = len(block.rows) + 1
    if last in entry.readers:
        output[0] = Reading(entry.readers[last][None].contiguous())
    return FourierBlock((entry.size, *block.sizes[1:]), heads, tuple(rows), output)
