"""Parts of a model: what they compute one after another, and where a model can be cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from generators.dags import joined, max_min, random_dag
from generators.drawing import Drawing
from generators.forms import bent, read, signals_of

from lipcert.bounds.parts import cuts, part_of, pre_activation_shape, without_dead_stages
from lipcert.graph import Affine
from lipcert.operators import Dense, Norms
from lipcert.signals import SignalForm, fold

SEEDS = range(80)


def inputs(form: SignalForm, count: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *form.input_shape, dtype=torch.float64, generator=generator)


def readers(form: SignalForm, k: int) -> list[int]:
    """Signals read by all stages behind stage k, and by the output."""
    behind = [*form.stages[k:]]
    return [*form.output_terms, *itertools.chain(*(stage.terms for stage in behind))]


@pytest.mark.parametrize("seed", SEEDS)
def test_cuts_are_where_all_passes_through_one_pre_activation(seed: int) -> None:
    form = fold(random_dag(seed))
    wanted = [k for k in range(2, len(form.stages) + 1) if all(j >= k for j in readers(form, k))]
    assert cuts(form) == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_one_after_another_are_the_model(seed: int) -> None:
    form = fold(random_dag(seed))
    x = inputs(form)
    _, output = signals_of(form, x)
    found = cuts(form)
    rng = np.random.default_rng(seed)
    chosen = [k for k in found if rng.random() < 0.7]
    value = x
    for start, stop in itertools.pairwise([1, *chosen, len(form.stages) + 1]):
        part = part_of(form, start, stop)
        assert len(part.stages) == stop - start
        _, value = signals_of(part, value.reshape(len(x), *part.input_shape))
        if stop <= len(form.stages):
            assert part.output_shape == pre_activation_shape(form.stages[stop - 1])
    torch.testing.assert_close(value, output, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_stages_change_nothing(seed: int) -> None:
    form = fold(random_dag(seed))
    live = without_dead_stages(form)
    x = inputs(form)
    torch.testing.assert_close(
        signals_of(live, x)[1], signals_of(form, x)[1], rtol=1e-12, atol=1e-12
    )
    read_by_others = set(live.output_terms).union(*(stage.terms for stage in live.stages))
    assert read_by_others >= set(range(1, len(live.stages) + 1))
    assert without_dead_stages(live) is live


def chain_with_skips() -> SignalForm:
    """Six stages; the third is skipped by a residual, the sixth reads the fifth alone."""
    d = Drawing(4)
    eye = np.eye(4)
    a = d.relu(d.matrix(eye))
    b = d.relu(d.matrix(eye, a))
    c = d.relu(d.matrix(eye, b))
    e = d.relu(d.total(d.matrix(eye, c), b))
    f = max_min(d, joined(d, e))
    g = d.relu(d.matrix(eye, f))
    return fold(d.graph(d.total(d.matrix(eye, g), f)))


def test_skips_forbid_cuts_inside_them() -> None:
    assert cuts(chain_with_skips()) == [2, 4, 5]


def test_what_reads_the_input_forbids_all_cuts() -> None:
    d = Drawing(3)
    hidden = d.relu(d.matrix(np.eye(3), d.relu(d.matrix(np.eye(3)))))
    assert cuts(fold(d.graph(d.total(hidden, "x")))) == []
    d = Drawing(3)
    first = d.relu(d.matrix(np.eye(3)))
    second = d.relu(d.total(d.matrix(np.eye(3), first), "x"))
    assert cuts(fold(d.graph(second))) == [2]


def test_a_stage_of_several_inputs_begins_a_part() -> None:
    """Its operands lie behind one another in the part's input."""
    form = chain_with_skips()
    part = part_of(form, 5, 7)
    assert part.input_shape == (4,)
    v = inputs(part, 3)
    first = bent(part.stages[0], v)
    assert torch.equal(first.flatten(1), signals_of(part, v)[0][1])
    assert torch.equal(read({0: part.stages[0].terms[0]}, [v]).flatten(1), v.flatten(1))


def test_dead_stages_are_renumbered() -> None:
    d = Drawing(2)
    a = d.relu("x")
    dead = d.add(d.nodes[0].operation, d.matrix(np.ones((5, 2)), a))
    d.relu(d.matrix(np.ones((3, 5)), dead))
    last = d.relu(d.matrix(2.0 * np.eye(2), a))
    live = without_dead_stages(fold(d.graph(last)))
    assert len(live.stages) == 2
    assert [set(stage.terms) for stage in live.stages] == [{0}, {1}]
    assert set(live.output_terms) == {2}


def test_zeros_that_are_not_known_to_be_zeros_are_kept() -> None:
    """A stored zero with an error, on its own and inside a product."""
    error = Norms(1e-3, 1e-3, 1e-3)
    for inside in (False, True):
        d = Drawing(2)
        hidden = d.relu("x")
        unsure = Affine(Dense(torch.zeros(2, 2, dtype=torch.float64), (), error))
        second = d.add(unsure, d.matrix(np.ones((2, 2)), hidden) if inside else hidden)
        form = fold(d.graph(d.total(second, "x")))
        assert without_dead_stages(form) is form
    d = Drawing(2)
    sure = d.matrix(np.zeros((2, 2)), d.relu("x"))
    live = without_dead_stages(fold(d.graph(d.total(sure, "x"))))
    assert not live.stages and set(live.output_terms) == {0}


def test_a_stage_that_reads_zeros_alone_still_reads_something() -> None:
    d = Drawing(2)
    still = d.relu(d.matrix(np.zeros((3, 2))))
    form = fold(d.graph(d.matrix(np.ones((2, 3)), still)))
    assert without_dead_stages(form) is form
