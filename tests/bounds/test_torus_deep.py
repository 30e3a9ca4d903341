"""Deep convolutional nets: a stretch at a time, near what the whole gives, and never below."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from generators.images import Images
from generators.soundness import differences, is_above, is_above_dual, sampled_slopes

from lipcert.bounds import BoundContext
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.lipsdp import lipsdp_neuron_bound
from lipcert.bounds.torus import split, torus_lipsdp
from lipcert.bounds.torus.heads import TorusBound
from lipcert.bounds.torus.part import ITERATIONS, TorusPart, family_size, solving_work, torus_part
from lipcert.bounds.torus.signals import signal_cuts, with_last_image
from lipcert.conic import cuts
from lipcert.conic.cuts import Cut, Stretch
from lipcert.graph import Affine, Graph
from lipcert.operators import Dense, Norms, Reshape, compose
from lipcert.signals import SignalForm, fold


def deep(seed: int, *, residual: bool) -> Graph:
    """Seventeen convolutions of two channels; with skips around every two."""
    images = Images(seed)
    value = images.d.relu(images.convolution("x", kernel=3, out=2))
    for _ in range(8):
        inner = images.d.relu(images.convolution(value, kernel=3, out=2))
        inner = images.convolution(inner, kernel=3, out=2)
        value = images.d.relu(images.d.total(value, inner) if residual else inner)
    return images.d.graph(value)


def bound(form: SignalForm) -> TorusBound:
    """On the torus, without a limit of time."""
    found = torus_lipsdp(form, BoundContext(), averaged_bound)
    assert found is not None
    return found


@pytest.mark.parametrize("residual", [False, True])
def test_a_little_above_the_optimum_and_never_below_a_slope(
    residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = deep(7, residual=residual)
    form = fold(graph)
    found = bound(form)
    assert "stretches" in found.details
    for slope in sampled_slopes(graph, np.random.default_rng(7)):
        assert is_above(found.value, slope, "l2")
    monkeypatch.setattr(cuts, "DEEP", 100)
    whole = bound(form)
    assert "stretches" not in whole.details
    assert whole.value * (1.0 - 1e-5) < found.value < 1.02 * whole.value


def test_deep_parts_are_planned_as_the_work_of_their_stretches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = torus_part(fold(deep(7, residual=False)))
    assert part is not None
    starts, stops = (9, 5, 0), (None, Cut(0, 13, 13), Cut(0, 9, 9))
    each = [Stretch(Cut(0, g, g), stop) for g, stop in zip(starts, stops, strict=True)]
    work = sum(family_size(part, stretch).work for stretch in each)
    assert solving_work(part) == pytest.approx(ITERATIONS * work)
    monkeypatch.setattr(cuts, "DEEP", 100)
    whole = family_size(part, Stretch(Cut(0, 0, 0), None)).work
    assert solving_work(part) == pytest.approx(ITERATIONS * whole)


def test_one_part_for_all_is_found_without_looking_at_every_stretch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form, asked = fold(deep(7, residual=False)), []

    def counted(own: SignalForm) -> TorusPart | None:
        asked.append(len(own.stages))
        return torus_part(own)

    monkeypatch.setattr(split, "torus_part", counted)
    (segment,) = split.segments_of(form, BoundContext())
    assert segment.chain is not None
    assert asked == [17]


@pytest.mark.parametrize("seconds", [0.5, 2.0, 10.0, math.inf])
def test_few_pieces_are_what_all_plans_together_would_give(seconds: float) -> None:
    options = split._Options(fold(deep(7, residual=False)))
    budget = seconds * split.RATE
    chosen = split._chosen(options, budget)
    whole = options.pieces(itertools.combinations(range(options.last + 1), 2))
    wanted = split._least_loss(options.boxes() + whole, options.last, budget)
    assert (chosen.loss, chosen.work) == (wanted.loss, wanted.work)


def skips_around_everything(head: Callable[[Images, str], str]) -> Graph:
    """Pre-activation blocks: no activation is all that what is behind it reads."""
    images = Images(5)
    value = images.convolution("x", kernel=3, out=2)
    for _ in range(2):
        inner = images.convolution(images.d.relu(value), kernel=3, out=2)
        value = images.d.total(value, images.convolution(images.d.relu(inner), kernel=3, out=2))
    return images.d.graph(head(images, value))


def dense_head(images: Images, source: str) -> str:
    """Three outputs of all positions."""
    shape = images.d.shapes[source]
    count = math.prod(shape)
    weight = torch.from_numpy(images.rng.standard_normal((3, count)) / math.sqrt(count))
    read = compose(Dense(weight, (1,)), Reshape(shape, (1, count)))
    return images.d.add(Affine(read), source)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_head_behind_skips_around_everything_is_joined(pooled: bool) -> None:
    def head(images: Images, source: str) -> str:
        return dense_head(images, images.pooled(source) if pooled else source)

    graph = skips_around_everything(head)
    form = fold(graph)
    whole = with_last_image(form)
    assert len(whole.stages) == len(form.stages) + 1
    assert signal_cuts(form) == [0]
    assert signal_cuts(whole)[-1] == len(whole.stages)
    found = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert found is not None
    assert found.pairs is not None
    table = found.pairs(BoundContext())
    for slope in sampled_slopes(graph, np.random.default_rng(7)):
        assert is_above(found.value, slope, "l2")
        for i, j, row in differences(slope.matrix):
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")


def test_forms_without_such_a_head_stay_as_they_are() -> None:
    images = Images(5)
    one = images.d.relu(images.convolution("x", kernel=3, out=2))
    single = fold(images.d.graph(dense_head(images, one)))
    assert with_last_image(single) is single
    apart = fold(skips_around_everything(lambda images, source: source))
    assert with_last_image(apart) is apart


def test_equal_coefficients_of_different_origin_are_not_taken_together() -> None:
    """Two products that round to the same matrix are not the same map."""
    images = Images(5)
    image = images.d.relu(images.convolution("x", kernel=3, out=2))
    inner = images.d.relu(images.convolution(image, kernel=3, out=2))
    count = math.prod(images.d.shapes[image])
    error = Norms(1e-18, 1e-18, 1e-18)
    weight = torch.ones(3, count, dtype=torch.float64)
    read = Reshape(images.d.shapes[image], (1, count))
    heads = [
        images.d.add(Affine(compose(Dense(weight.clone(), (1,), error), read)), value)
        for value in (image, inner)
    ]
    form = fold(images.d.graph(images.d.total(*heads)))
    assert with_last_image(form) is form
