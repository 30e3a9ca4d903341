"""The multipliers of deep families, found a stretch of groups at a time.

With the multipliers of all others given, what is before a stretch supplies and what is behind it
demands a quadratic form of the one image between, at every frequency: Schur complements of the
matrix inequality on that group.  In coordinates in which the supply is ``t · I`` the multipliers of
a stretch that need the least t solve an inequality of the same kind, and all those before it can be
scaled by t.  So every step keeps all multipliers feasible, and none makes y_0 larger: a descent by
blocks, whose stretches overlap.

One pass from the output to the entry costs as much as depth.  To solve all at once costs more: the
deeper a chain, the more frequencies bind and the more iterations it takes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, eliminate, times
from lipcert.conic.cuts import Cut, Stretch, groups_to_cut_at, stretches_between
from lipcert.conic.fourier import FourierBlock, Reading, all_holding, chunks
from lipcert.conic.hkm import Report
from lipcert.conic.torus_solver import TorusOutcome, solve_families
from lipcert.conic.torus_start import central_start

GAP = 1e-2
"""Relative gap at which a stretch is done: it is not an optimum of the whole anyway."""
ROOM = 1e-3
"""How much more than they need multipliers are given that a stretch starts from."""

Teller = Callable[[int, int], Report]
"""Makes the report of the iterations of one of so many stretches, both counted from 1."""


def solve_by_stretches(
    families: list[FourierBlock],
    start: Tensor,
    *,
    tolerance: float = 1e-6,
    deadline: float = math.inf,
    teller: Teller | None = None,
) -> TorusOutcome:
    """As :func:`solve_families`, which it is where there is but one stretch.

    Where there are more, what is found is no optimum, and there is no bound from below.

    Raises ValueError where ``start`` is not strictly feasible.
    """
    stretches = _stretches_of(families)
    count = len(stretches)
    if count == 1:
        report = None if teller is None else teller(1, 1)
        return solve_families(
            families, start, tolerance=tolerance, deadline=deadline, report=report
        )
    if not all_holding(families, start):
        raise ValueError("the start is not strictly feasible")
    whole = TorusOutcome(start, start, ending="optimal", stretches=count)
    whole.frequencies = sum(family.frequencies for family in families)
    descent = _Descent(families, stretches, start)
    for number, stretch in enumerate(stretches):
        now = time.monotonic()
        own = descent.problem(stretch, whole.y)
        if own is None:
            whole.ending = "stalled"
            continue
        found = solve_families(
            own.families,
            own.start,
            tolerance=max(tolerance, GAP),
            deadline=now + (deadline - now) / (count - number),
            report=None if teller is None else own.telling(teller(number + 1, count)),
        )
        whole.iterations += found.iterations
        whole.looked = max(whole.looked, found.looked)
        whole.ending = found.ending if found.ending != "optimal" else whole.ending
        better = own.applied(found.y)
        if float(better[0]) < float(whole.y[0]):
            whole.y, whole.inside = better, own.applied(found.inside)
        whole.history.append((float(whole.y[0]), math.inf))
        if found.ending == "interrupted":
            break
    return whole


def _stretches_of(families: list[FourierBlock]) -> list[Stretch]:
    cuts, stages = [Cut(0, 0, 0)], 0
    for number, family in enumerate(families):
        groups, places = len(family.sizes), _places_of(family)
        reads = [(place, row.reads) for place, row in zip(places, family.rows, strict=True)]
        if family.output:
            reads.append((groups, family.output))
        cuts += [Cut(number, g, stages + g) for g in groups_to_cut_at(groups, reads)]
        stages += groups - 1
    return stretches_between(cuts, stages)


def _places_of(family: FourierBlock) -> list[int]:
    """The group that each row belongs to: its own, or that whose multipliers it has too.

    An exit has neither, and is behind all groups.
    """
    of_multiplier = {
        k: row.group for row in family.rows if row.group is not None for k in row.index.tolist()
    }
    firsts = [row.index[:1].tolist() for row in family.rows]
    behind = len(family.sizes)
    return [of_multiplier.get(first[0], behind) if first else behind for first in firsts]


class _Descent:
    """What the stretches share, from the last to the first: each is shown once, in that order.

    Parameters
    ----------
    families : as far as the stop of the stretch shown last, what is behind it as a demand.
    supplies : at the start of every stretch, for the multipliers ``start``, whose y_0 is ``first``.
    """

    def __init__(
        self, families: list[FourierBlock], stretches: list[Stretch], start: Tensor
    ) -> None:
        self.families, self.first = list(families), float(start[0])
        self.supplies: list[dict[int, Tensor]] = []
        for number, family in enumerate(families):
            groups = [s.start.group for s in stretches if s.start.family == number]
            self.supplies.append(_supplies(family, groups, start))

    def problem(self, stretch: Stretch, y: Tensor) -> _Problem | None:
        """That of a stretch at the present multipliers; None where rounding forbids it."""
        first, last = stretch.start, stretch.stop
        if last is not None:
            del self.families[last.family + 1 :]
            self.families[-1] = _ended(self.families[-1], last.group, y)
        taken = self.families[first.family :]
        supply = self.supplies[first.family][first.group] * (float(y[0]) / self.first)
        begun = _begun(taken[0], first.group, supply)
        if begun is None:
            return None
        taken[0] = begun
        own = _multipliers(taken)
        own = own[own > 0]
        before = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        before[_multipliers(self.families)] = True
        before[own] = False
        before[0] = True
        local = torch.zeros(len(y), dtype=torch.int64, device=y.device)
        local[own] = torch.arange(1, len(own) + 1, device=y.device)
        taken = [_renumbered(family, local) for family in taken]
        start = central_start(taken, len(own) + 1)
        if start is None:
            start = torch.cat((torch.full_like(y[:1], 1.0 + ROOM), y[own]))
            if not all_holding(taken, start):
                return None
        return _Problem(taken, y, before, own, start)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The inequality of a stretch, whose multiplier 0 is t.

    Parameters
    ----------
    y : the multipliers of the whole.
    before : which of them t scales: y_0 and all that belong to what is before the stretch.
    own : those of the stretch.
    start : t and those of the stretch, strictly feasible.
    """

    families: list[FourierBlock]
    y: Tensor
    before: Tensor
    own: Tensor
    start: Tensor

    def applied(self, found: Tensor) -> Tensor:
        """Multipliers of the whole with what was found for the stretch."""
        y = torch.where(self.before, found[0] * self.y, self.y)
        y[self.own] = found[1:]
        return y

    def telling(self, report: Report) -> Report:
        """Tells of y_0 instead of t."""
        base = float(self.y[0])
        return lambda iteration, t, gap: report(iteration, base * t, gap)


def _multipliers(families: list[FourierBlock]) -> Tensor:
    found: Tensor = torch.unique(torch.cat([family.multipliers for family in families]))
    return found


def _renumbered(family: FourierBlock, numbers: Tensor) -> FourierBlock:
    rows = tuple(replace(row, index=numbers[row.index]) for row in family.rows)
    return replace(family, head_index=numbers[family.head_index], rows=rows)


def _behind(family: FourierBlock, group: int) -> FourierBlock:
    """The rows behind a group, on the groups from there on, the entry's multiplier t."""
    places = zip(_places_of(family), family.rows, strict=True)
    rows = [
        replace(
            row,
            group=None if row.group is None else row.group - group,
            reads={g - group: part for g, part in row.reads.items()},
        )
        for place, row in places
        if place > group
    ]
    output = {g - group: part for g, part in family.output.items()}
    heads = family.head_index.new_zeros(family.sizes[group])
    return FourierBlock(family.sizes[group:], heads, tuple(rows), output)


def _begun(family: FourierBlock, group: int, supply: Tensor) -> FourierBlock | None:
    """What is behind a group, in coordinates of it in which the supply is ``t · I``."""
    if supply.dim() == 2:
        root, good = supply.rsqrt(), bool((supply > 0.0).all())
    else:
        lower, info = torch.linalg.cholesky_ex(supply)
        unit = torch.eye(len(lower[0]), dtype=lower.dtype, device=lower.device).expand_as(lower)
        good = bool((info == 0).all())
        root = torch.linalg.solve_triangular(lower, unit, upper=False).mH if good else unit
    if not good:
        return None

    def changed(reads: Mapping[int, Reading]) -> dict[int, Reading]:
        return {g: part if g else Reading(times(part.matrix, root)) for g, part in reads.items()}

    found = _behind(family, group)
    rows = tuple(replace(row, reads=changed(row.reads)) for row in found.rows)
    return replace(found, rows=rows, output=changed(found.output))


def _ended(family: FourierBlock, group: int, y: Tensor) -> FourierBlock:
    """What is before a group and the group itself, its output what all behind it demand at y."""
    places = zip(_places_of(family), family.rows, strict=True)
    rows = tuple(row for place, row in places if place <= group)
    values, vectors = torch.linalg.eigh(_demand(family, group, y))
    root = values.clamp(min=0.0).sqrt()[:, :, None] * vectors.mH
    sizes = family.sizes[: group + 1]
    return FourierBlock(sizes, family.head_index, rows, {group: Reading(root)})


def _supplies(family: FourierBlock, groups: list[int], y: Tensor) -> dict[int, Tensor]:
    """The Schur complement on groups of all up to each, ``(B, n, n)``; of the entry ``(1, n)``."""
    found: dict[int, list[Tensor]] = {group: [] for group in sorted(groups) if group}
    places = _places_of(family)
    for part in chunks(family):
        work, last = Blocks(), 0
        for group, parts in found.items():
            both = zip(places, part.rows, strict=True)
            rows = tuple(row for place, row in both if last < place <= group)
            if last:
                for row in rows:
                    part.add_row(work, row, y)
            else:
                work = replace(part, rows=rows, output={}).linear_part(y)
            for g in range(last, group):
                eliminate(work, g)
            parts.append(work[group, group])
            last = group
    supplies = {group: torch.cat(parts) for group, parts in found.items()}
    return supplies | ({0: y[family.head_index][None]} if 0 in groups else {})


def _demand(family: FourierBlock, group: int, y: Tensor) -> Tensor:
    """Minus the Schur complement on a group of all behind it, ``(B, n, n)``."""
    places, found = _places_of(family), list[Tensor]()
    for part in chunks(family):
        work = {place: -gram for place, gram in part.output_gram.items()}
        for place, row in zip(places, part.rows, strict=True):
            if place > group:
                part.add_row(work, row, y)
        for g in range(len(family.sizes) - 1, group, -1):
            eliminate(work, g)
        found.append(-work[group, group])
    return torch.cat(found)
