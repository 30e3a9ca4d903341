"""Differences of two outputs of a dense head behind convolutional parts."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from generators.images import Images
from generators.soundness import differences, is_above_dual, sampled_slopes

from lipcert.bounds import BoundContext
from lipcert.bounds.lipsdp import lipsdp_neuron_bound
from lipcert.bounds.plan import plan
from lipcert.bounds.result import Constants
from lipcert.bounds.torus import split, torus_lipsdp
from lipcert.errors import SolverError
from lipcert.graph import Affine, Graph
from lipcert.operators import Adjoint, Dense, Indexing, Reshape, compose
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NormSettings

KINDS = ("each element", "shared", "sums")


def with_head(seed: int, kind: str) -> Graph:
    """Two convolutions, then seven neurons and four outputs behind the image or its sums."""
    images = Images(seed)
    value = images.activated(images.convolution("x", out=4))
    value = images.activated(images.convolution(value, out=4))
    shape = images.d.shapes[value]
    if kind == "sums":
        spread = torch.arange(4)[:, None].expand(4, math.prod(shape[2:])).reshape(shape)
        read, count = Adjoint(Indexing(spread.contiguous(), (1, 4))), 4
    else:
        read, count = Reshape(shape, (1, math.prod(shape))), math.prod(shape)
    weight = torch.from_numpy(images.rng.standard_normal((7, count)))
    value = images.d.relu(images.d.add(Affine(compose(Dense(weight, (1,)), read)), value))
    last = torch.from_numpy(images.rng.standard_normal((4, 7)))
    return images.d.graph(images.d.add(Affine(Dense(last, (1,))), value))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_smaller_than_from_one_solution_and_never_below_the_dense_inequality(
    seed: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = with_head(seed, kind)
    form = fold(graph)
    assert not any(stretch.boxed for stretch in plan(form, BoundContext()))
    explicit = lipsdp_neuron_bound(form, BoundContext()).pairwise()
    if kind == "shared":
        monkeypatch.setattr(split, "MOST_ENTRY", (14,))
    found = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert found is not None
    assert found.pairs is not None
    late = BoundContext(settings=NormSettings(deadline=time.monotonic()))
    table, quick = found.pairs(BoundContext()), found.pairs(late)
    assert (table >= explicit * (1.0 - 1e-3)).all()
    assert (table <= quick).all()
    others = ~np.eye(4, dtype=bool)
    assert np.mean(table[others] / quick[others]) < 0.99
    assert (table == table.T).all()
    assert (table.diagonal() == 0.0).all()
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        for i, j, row in differences(slope.matrix):
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")


def test_constants_of_earlier_segments_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two images that are solved apart, and a head behind the second."""
    graph = with_head(0, "each element")
    form = fold(graph)
    whole = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    monkeypatch.setattr(split, "_chosen", _two_segments)
    apart = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert whole is not None
    assert apart is not None
    assert "; times " in apart.details
    assert whole.pairs is not None
    assert apart.pairs is not None
    table = apart.pairs(BoundContext())
    assert (table >= whole.pairs(BoundContext()) * (1.0 - 1e-3)).all()
    for slope in sampled_slopes(graph, np.random.default_rng(1)):
        for i, j, row in differences(slope.matrix):
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")


def _two_segments(options: split._Options, budget: float) -> split._Plan:
    """The first convolution by its own constant; then the second and the head as a chain."""
    first = next(p for p in options.boxes() if (p.start, p.stop) == (0, 1))
    second = next(p for p in options.pieces([(1, 2)]) if p.part is not None)
    behind = options.pieces([(2, options.last)])
    head = next(p for p in behind if p.most is not None)
    return split._Plan().with_piece(first).with_piece(second).with_piece(head)


def test_the_coupled_bound_stays_where_the_head_alone_is_not_solved() -> None:
    form = fold(with_head(1, "each element"))

    def refused(form: SignalForm, context: BoundContext) -> Constants:
        raise SolverError("lipsdp", "no start", "use another method")

    found = torus_lipsdp(form, BoundContext(), refused)
    whole = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert found is not None
    assert whole is not None
    assert found.pairs is None
    assert found.value > whole.value


def test_pairs_are_found_with_the_whole_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with what the convolutional parts may take of it."""
    graph = with_head(2, "each element")
    seen = []

    def tail(form: SignalForm, context: BoundContext) -> Constants:
        seen.append(context.settings.deadline)
        return lipsdp_neuron_bound(form, context)

    deadline = time.monotonic() + 1e6
    context = BoundContext(settings=NormSettings(deadline=deadline))
    with context.until(deadline - 5e5) as share:
        found = torus_lipsdp(fold(graph), share, tail)
    assert found is not None
    assert found.pairs is not None
    assert seen == [deadline - 5e5]
    found.pairs(context)
    assert seen[1:] == [deadline]


def test_pairs_that_are_not_to_be_had_any_more_say_nothing() -> None:
    """The table of the bound itself is what counts then: nothing is raised when it is asked for."""
    seen = []

    def once(form: SignalForm, context: BoundContext) -> Constants:
        seen.append(form)
        if len(seen) > 1:
            raise SolverError("lipsdp", "no proof", "use another method")
        return lipsdp_neuron_bound(form, context)

    found = torus_lipsdp(fold(with_head(2, "each element")), BoundContext(), once)
    assert found is not None
    assert found.pairs is not None
    table = found.pairs(BoundContext())
    assert len(seen) == 2
    assert np.array_equal(table == 0.0, np.eye(len(table), dtype=bool))
    assert np.isinf(table).sum() == len(table) * (len(table) - 1)


def test_dense_stretches_keep_pairs_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the head is not part of a chain, its own method finds them, when they are asked for."""
    graph = with_head(1, "each element")
    asked = []

    def tail(form: SignalForm, context: BoundContext) -> Constants:
        found = lipsdp_neuron_bound(form, context)

        def pairwise() -> np.ndarray:
            asked.append(form)
            return found.pairwise()

        return Constants(found.value, found.signals, pairwise, found.details)

    def no_head(options: split._Options, budget: float) -> split._Plan:
        first = next(p for p in options.pieces([(0, 2)]) if p.part is not None)
        rest = next(p for p in options.boxes() if (p.start, p.stop) == (2, options.last))
        return split._Plan().with_piece(first).with_piece(rest)

    monkeypatch.setattr(split, "_chosen", no_head)
    found = torus_lipsdp(fold(graph), BoundContext(), tail)
    assert found is not None
    assert found.pairs is not None
    assert asked == []
    table = found.pairs(BoundContext())
    assert len(asked) == 1
    for slope in sampled_slopes(graph, np.random.default_rng(1)):
        for i, j, row in differences(slope.matrix):
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")
