"""The solver and its proof make nothing but on the device of the problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from generators.images import Images

from lipcert.bounds import BoundContext
from lipcert.bounds.torus.behind import behind
from lipcert.bounds.torus.chain import Chain, ChainProblem, chain_problem
from lipcert.bounds.torus.split import segments_of
from lipcert.conic import cuts
from lipcert.conic.fourier_proof import proven_families
from lipcert.conic.joint import solve_joint
from lipcert.conic.stretches import solve_by_stretches
from lipcert.conic.torus_solver import FIRST, solve_families
from lipcert.conic.torus_start import central_start
from lipcert.graph import Affine
from lipcert.operators import Dense, Reshape, compose
from lipcert.signals import fold


def problem(seed: int, *, pooled: bool) -> tuple[Chain, ChainProblem]:
    """Three convolutions, and a head of six neurons."""
    images = Images(seed)
    value = "x"
    for _ in range(3):
        value = images.d.relu(images.convolution(value, kernel=3, out=4))
    if pooled:
        value = images.pooled(value)
    shape = images.d.shapes[value]
    count = int(np.prod(shape))
    weight = torch.from_numpy(images.rng.standard_normal((6, count)))
    read = compose(Dense(weight, (1,)), Reshape(shape, (1, count)))
    value = images.d.relu(images.d.add(Affine(read), value))
    last = Dense(torch.from_numpy(images.rng.standard_normal((3, 6))), (1,))
    form = fold(images.d.graph(images.d.add(Affine(last), value)))
    (segment,) = segments_of(form, BoundContext())
    assert segment.chain is not None
    return segment.chain, chain_problem(segment.chain, BoundContext())


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_made_on_the_default_device(seed: int) -> None:
    """What a factory without a device makes has no values here, and using it fails."""
    chain, found = problem(seed, pooled=seed % 2 == 1)
    with torch.device("meta"):
        start = central_start(found.families, len(found.start))
        outcome = solve_families(found.families, found.start)
        y, _ = proven_families(found.families, outcome.y, [outcome.inside, found.start])
    assert outcome.looked > FIRST + 1  # frequencies joined
    assert outcome.ending == "optimal"
    assert start is not None
    assert torch.equal(start, found.start)
    both = behind(chain, found, y)
    assert both is not None
    joint, own = both.joint(), torch.cat((both.of_body(y), y[found.neurons]))
    with torch.device("meta"):
        better = solve_joint(joint, own)
        alone = both.alone(better.y[: len(both.taken)])
    assert better.ending == "optimal"
    assert float(better.y[0]) < float(y[0])
    assert alone is not None


def test_stretches_make_nothing_on_the_default_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "DEEP", 1)
    monkeypatch.setattr(cuts, "SPAN", 2)
    _, found = problem(0, pooled=False)
    with torch.device("meta"):
        outcome = solve_by_stretches(found.families, found.start)
    assert outcome.stretches > 1
    assert outcome.ending == "optimal"
    assert float(outcome.y[0]) < float(found.start[0])
