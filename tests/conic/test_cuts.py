"""Cuts in depth against their definition, and stretches that cover everything and overlap."""

from __future__ import annotations

import random

import pytest

from lipcert.conic.cuts import DEEP, SPAN, Cut, groups_to_cut_at, stretches_between


@pytest.mark.parametrize("seed", range(40))
def test_nothing_behind_a_cut_reads_what_is_before_it(seed: int) -> None:
    rng = random.Random(seed)
    groups = rng.randint(1, 9)
    reads = [
        (place, [rng.randint(max(0, place - 3), place - 1) for _ in range(rng.randint(1, 2))])
        for place in range(1, groups + 1)
    ]
    wanted = [
        g
        for g in range(1, groups)
        if min(min(read) for place, read in reads if place > g) == g  # and something reads g
    ]
    assert groups_to_cut_at(groups, reads) == wanted


@pytest.mark.parametrize("stages", [1, DEEP, DEEP + 1, 16, 31, 63, 100])
def test_stretches_of_a_chain(stages: int) -> None:
    cuts = [Cut(0, g, g) for g in range(stages + 1)]
    found = stretches_between(cuts, stages)
    assert (len(found) == 1) == (stages <= DEEP)
    assert found[0].stop is None
    assert found[-1].start == cuts[0]
    ends = [stages if s.stop is None else s.stop.stages for s in found]
    lengths = [end - s.start.stages for end, s in zip(ends, found, strict=True)]
    assert lengths[:-1] == [SPAN] * (len(found) - 1)
    assert lengths[-1] <= DEEP
    for later, earlier in zip(found, ends[1:], strict=False):
        assert earlier - later.start.stages == SPAN // 2


@pytest.mark.parametrize("seed", range(40))
def test_stretches_where_cuts_are_rare(seed: int) -> None:
    rng = random.Random(seed)
    stages = rng.randint(13, 60)
    places = sorted(rng.sample(range(1, stages), rng.randint(0, 8)))
    found = stretches_between([Cut(0, g, g) for g in (0, *places)], stages)
    assert found[0].stop is None
    assert found[-1].start.stages == 0
    for later, earlier in zip(found, found[1:], strict=False):
        assert earlier.start.stages < later.start.stages  # each begins nearer to the entry
        assert earlier.stop is not None
        assert later.start.stages <= earlier.stop.stages  # and leaves nothing out
