"""Where deep families can be cut in depth, and the overlapping stretches between such cuts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DEEP = 12
"""Stages that are still solved at once, from the entry on."""
SPAN = 8
"""Stages of a stretch of more, about; half of them are in the next one too."""


@dataclass(frozen=True)
class Cut:
    """Behind a group of a family and all that is before it; ``stages`` of the chain are before.

    Nothing behind it reads what is before the group.
    """

    family: int
    group: int
    stages: int


@dataclass(frozen=True)
class Stretch:
    """What is behind one cut and before another, or up to the output if there is none."""

    start: Cut
    stop: Cut | None


def groups_to_cut_at(groups: int, reads: Iterable[tuple[int, Iterable[int]]]) -> list[int]:
    """The groups that what is behind them reads, and nothing before them.

    Parameters
    ----------
    groups : how many there are.
    reads : for each row its place, which is the group that it belongs to or ``groups`` behind all,
        and the groups that it reads; the output counts as a row.
    """
    earliest = list(range(groups + 1))  # that a row at each place, or one behind it, reads
    for place, read in reads:
        earliest[place] = min([earliest[place], *read])
    backwards = list(itertools.accumulate(reversed(earliest), min))[::-1]
    return [g for g in range(1, groups) if backwards[g + 1] == g]


def stretches_between(cuts: Sequence[Cut], stages: int) -> list[Stretch]:
    """From the last to the first, each with about SPAN stages; one where there are few.

    Parameters
    ----------
    cuts : in order, the first of them before everything.
    stages : of the whole chain.
    """
    found: list[Stretch] = []
    cuts = [cuts[0], *(cut for cut in cuts[1:] if cut.stages < stages)]
    place, stop, end = len(cuts), None, stages
    while place:
        near = [n for n in range(place) if end <= DEEP or end - cuts[n].stages <= SPAN]
        place = near[0] if near else place - 1
        found.append(Stretch(cuts[place], stop))
        shared = cuts[place].stages + SPAN // 2
        stop = [cut for cut in cuts[place:] if cut.stages <= shared][-1]
        end = stop.stages
    return found
