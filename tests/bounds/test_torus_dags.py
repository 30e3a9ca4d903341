"""LipSDP on the torus for random convolutional graphs: never below a slope, and for pairs too."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.images import Images, random_dag, random_images
from generators.soundness import differences, is_above, is_above_dual, sampled_slopes

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds import lipsdp as lipsdp_module
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.lipsdp import lipsdp_neuron_bound
from lipcert.bounds.plan import Stretch
from lipcert.bounds.torus import split, torus_lipsdp
from lipcert.conic.problem import ScaledProblem
from lipcert.graph import Affine
from lipcert.operators import (
    Dense,
    Reshape,
    compose,
)
from lipcert.signals import SignalForm, fold


@pytest.mark.parametrize("seed", range(48))
def test_never_below_a_slope(seed: int) -> None:
    """No tolerance on the unsound side: the references take off their own rounding."""
    graph = random_images(seed) if seed < 20 else random_dag(seed)
    found = torus_lipsdp(fold(graph), BoundContext(), lipsdp_neuron_bound)
    assert found is not None
    table = None if found.pairs is None else found.pairs(BoundContext())
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(found.value, slope, "l2")
        for i, j, row in differences(slope.matrix) if table is not None else ():
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")


@pytest.mark.parametrize("seed", range(8))
def test_the_method_takes_the_torus_where_one_block_is_too_large(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boxed(form: SignalForm, context: BoundContext) -> list[Stretch]:
        return [Stretch(1, len(form.stages) + 1, boxed=True)]

    graph = random_images(seed)
    form = fold(graph)
    monkeypatch.setattr(lipsdp_module, "plan", boxed)
    found = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    constants = METHODS["lipsdp"](form, BoundContext())
    averaged = averaged_bound(form, BoundContext()).value
    assert found is not None
    assert constants.value <= min(found.value, averaged) * (1.0 + 1e-6)
    if constants.value >= found.value * (1.0 - 1e-6):
        assert ("tori" in constants.details) is (found.value < averaged)
    table = constants.pairwise()
    assert (table <= math.sqrt(2.0) * constants.value * (1.0 + 1e-9)).all()
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(constants.value, slope, "l2")
        for i, j, row in list(differences(slope.matrix))[:20]:
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")


@pytest.mark.parametrize("seed", range(4))
def test_channels_that_share_couplings_cost_a_little_and_stay_a_bound(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Images(seed)
    value = images.activated(images.convolution("x", out=4))
    shape = images.d.shapes[images.activated(images.convolution(value, out=4))]
    value = f"v{len(images.d.nodes) - 1}"
    read = Reshape(shape, (1, math.prod(shape)))
    first = Dense(torch.from_numpy(images.rng.standard_normal((3, math.prod(shape)))), (1,))
    value = images.activated(images.d.add(Affine(compose(first, read)), value))
    last = Dense(torch.from_numpy(images.rng.standard_normal((2, 3))), (1,))
    graph = images.d.graph(images.d.add(Affine(last), value))
    every = torus_lipsdp(fold(graph), BoundContext(), lipsdp_neuron_bound)
    monkeypatch.setattr(split, "MOST_ENTRY", (6,))
    shared = torus_lipsdp(fold(graph), BoundContext(), lipsdp_neuron_bound)
    assert every is not None
    assert shared is not None
    assert every.value * (1.0 - 1e-6) <= shared.value <= 2.0 * every.value
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(shared.value, slope, "l2")


def test_the_torus_is_tried_where_one_block_is_far_from_its_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where no multipliers near the optimum are proved: here those that are count four times."""
    images = Images(3, circular=True)
    inner = images.d.relu(images.convolution("x", kernel=3, out=3))
    form = fold(images.d.graph(images.convolution(inner, kernel=3, out=2)))
    whole = lipsdp_neuron_bound(form, BoundContext())
    assert "one block" in whole.details
    proven = lipsdp_module.proven_multipliers

    def loose(
        scaled: ScaledProblem, y: torch.Tensor, inside: torch.Tensor | None
    ) -> tuple[torch.Tensor, float]:
        found, share = proven(scaled, y, inside)
        return 4.0 * found, share

    monkeypatch.setattr(lipsdp_module, "proven_multipliers", loose)
    found = lipsdp_neuron_bound(form, BoundContext())
    assert "tori" in found.details
    assert found.value == pytest.approx(whole.value, rel=1e-5)
    monkeypatch.setattr(lipsdp_module, "FAR", 10.0)
    assert lipsdp_neuron_bound(form, BoundContext()).value > 1.5 * whole.value
