"""Plans under small budgets of time and memory: what they choose, and that it stays a bound."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from generators.dags import joined, random_dag
from generators.drawing import Drawing
from generators.forms import differences_of, steepest_quotient

from lipcert.bounds import METHODS, BoundContext, plan
from lipcert.bounds.parts import cuts, without_dead_stages
from lipcert.bounds.plan import Stretch, describe, size_of
from lipcert.bounds.result import Constants
from lipcert.graph import Graph
from lipcert.signals import SignalForm, fold

HUGE = 1e18


def chain(*sizes: int, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    d = Drawing(sizes[0])
    value = "x"
    for place, (n, m) in enumerate(itertools.pairwise(sizes)):
        read = d.relu(value) if place else value
        value = d.matrix(1.5 * rng.standard_normal((m, n)) / math.sqrt(n), read)
    return d.graph(value)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch):
    """Sets the operations and bytes that a plan may use; nothing is free."""

    def set_limits(work: float = HUGE, memory: float = HUGE) -> None:
        monkeypatch.setattr(plan, "FREE_WORK", 0.0)
        monkeypatch.setattr(plan, "_budget", lambda context: work)
        monkeypatch.setattr(plan, "_memory", lambda device: memory)

    return set_limits


def planned(form: SignalForm) -> list[Stretch]:
    return plan.plan(form, BoundContext())


def work_of(form: SignalForm, stretches: list[Stretch]) -> float:
    open_ones = [part for part in stretches if not part.boxed]
    works = [size_of(form, part.start, part.stop).work for part in open_ones]
    return sum(works) * plan.ITERATIONS


def memory_of(form: SignalForm, stretches: list[Stretch]) -> float:
    open_ones = [part for part in stretches if not part.boxed]
    return sum(size_of(form, part.start, part.stop).memory for part in open_ones)


def assert_contiguous(form: SignalForm, stretches: list[Stretch]) -> None:
    edges = [1, *cuts(form), len(form.stages) + 1]
    assert stretches[0].start == 1 and stretches[-1].stop == len(form.stages) + 1
    assert all(a.stop == b.start for a, b in itertools.pairwise(stretches))
    assert {part.start for part in stretches} <= set(edges)
    assert not any(a.boxed and b.boxed for a, b in itertools.pairwise(stretches))


# --- choices ---------------------------------------------------------------------------------------


def test_small_models_are_one_block_without_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(device: torch.device) -> float:
        raise AssertionError("nothing needs to be timed")

    monkeypatch.setattr(plan, "product_rate", timed)
    assert planned(fold(chain(5, 30, 30, 30, 4))) == [Stretch(1, 4, boxed=False)]


@pytest.mark.parametrize("seed", range(30))
def test_plans_keep_to_their_limits(seed: int, limits) -> None:
    form = without_dead_stages(fold(random_dag(seed)))
    if not form.stages:
        return
    whole = [Stretch(1, len(form.stages) + 1, boxed=False)]
    work, memory = work_of(form, whole), memory_of(form, whole)
    for share in (1.0, 0.5, 0.2, 0.03, 1e-4):
        limits(work=work * share)
        by_time = planned(form)
        assert_contiguous(form, by_time)
        assert work_of(form, by_time) <= work * share
        limits(memory=memory * share)
        by_memory = planned(form)
        assert_contiguous(form, by_memory)
        assert memory_of(form, by_memory) <= memory * share
        if share == 1.0:
            assert by_time == by_memory == whole


def test_less_time_means_more_blocks_then_boxes(limits) -> None:
    form = fold(chain(8, *[40] * 8, 3))
    whole = work_of(form, [Stretch(1, 9, boxed=False)])
    seen = []
    for share in (1.0, 0.4, 0.1, 0.02, 1e-3, 1e-6):
        limits(work=whole * share)
        chosen = planned(form)
        seen.append((sum(part.boxed for part in chosen), len(chosen)))
    assert seen[0] == (0, 1) and seen[1][0] == 0 and seen[1][1] > 1
    assert seen[-1] == (1, 1)


def test_what_is_too_large_alone_becomes_a_box(limits) -> None:
    form = fold(chain(6, 10, 200, 10, 10, 3))
    holding = [size_of(form, a, b).memory for a in (1, 2) for b in (3, 4, 5)]
    limits(memory=min(holding) * 0.9)
    chosen = planned(form)
    boxed = [part for part in chosen if part.boxed]
    assert len(boxed) == 1 and boxed[0].start <= 2 < boxed[0].stop
    assert any(not part.boxed for part in chosen)


def test_memory_is_that_of_all_blocks_together(limits) -> None:
    """Each of many blocks fits, all of them do not."""
    form = fold(chain(6, *[20] * 12, 3))
    limits(memory=size_of(form, 3, 5).memory * 1.01)
    assert memory_of(form, planned(form)) <= size_of(form, 3, 5).memory * 1.01


def test_sizes_are_those_of_the_blocks() -> None:
    d = Drawing(50)
    hidden = d.relu(d.matrix(np.ones((7, 50)) + np.eye(7, 50)))
    second = d.relu(d.matrix(np.ones((6, 7)), hidden))
    form = fold(d.graph(d.matrix(np.ones((2, 6)), second)))
    whole = size_of(form, 1, 3)
    assert (whole.side, whole.neurons) == (7 + 7 + 6, 13)  # 7 rows read the input
    assert size_of(form, 1, 2).side == 7 + 7
    assert size_of(form, 2, 3).side == 6 + 6
    assert size_of(form, 1, 2).work < whole.work


def test_time_left_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine cuts what a fast one takes whole."""
    form = fold(chain(8, *[40] * 8, 3))
    monkeypatch.setattr(plan, "FREE_WORK", 0.0)
    monkeypatch.setattr(plan, "product_rate", lambda device: 1e12)
    assert len(planned(form)) == 1
    monkeypatch.setattr(plan, "product_rate", lambda device: 1e6)
    assert len(planned(form)) > 1


def test_plans_in_words() -> None:
    form = fold(chain(4, 3, 5, 2, 2))
    names = [stage.node.name for stage in form.stages]
    assert describe(form, [Stretch(1, 4, boxed=False)]) == "10 neurons in one block"
    parts = [Stretch(1, 2, boxed=False), Stretch(2, 4, boxed=False)]
    assert describe(form, parts) == "10 neurons in 2 blocks"
    parts = [Stretch(1, 2, boxed=False), Stretch(2, 4, boxed=True)]
    told = describe(form, parts)
    assert told == f"3 neurons in one block; by their constants only: {names[1]} to {names[2]}"


def test_the_rate_of_a_product_is_measured() -> None:
    assert 1e7 < plan.product_rate(torch.device("cpu")) < 1e14


# --- values ----------------------------------------------------------------------------------------


def lipsdp(form: SignalForm) -> Constants:
    return METHODS["lipsdp"](form, BoundContext())


@pytest.mark.parametrize("seed", range(6))
def test_fewer_resources_never_tighten_and_never_break_the_bound(seed: int, limits) -> None:
    form = fold(chain(5, 12, 9, 14, 8, 10, 4, seed=seed))
    plain = METHODS["autolip"](form, BoundContext()).value
    steepest = steepest_quotient(form, seed)
    whole = [Stretch(1, len(form.stages) + 1, boxed=False)]
    together = lipsdp(form).value
    for share in (0.3, 0.05, 0.01, 1e-3, 1e-30):
        for limit in (
            {"work": work_of(form, whole) * share},
            {"memory": memory_of(form, whole) * share},
        ):
            limits(**limit)
            found = lipsdp(form)
            assert steepest <= found.value <= plain
            assert together <= found.value * (1.0 + 2e-6)
            if share == 1e-30:
                assert "too large" in found.details
                assert found.value == METHODS["averaged"](form, BoundContext()).value


@pytest.mark.parametrize("seed", range(25))
def test_boxes_and_blocks_of_random_graphs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any plan at all is a bound, of the whole and of every pair."""
    form = without_dead_stages(fold(random_dag(seed, deepest=7)))
    if not form.stages:
        return
    rng = np.random.default_rng(seed)
    steepest = steepest_quotient(form, seed)
    plain = METHODS["autolip"](form, BoundContext()).value
    chosen: list[Stretch] = []
    monkeypatch.setattr("lipcert.bounds.lipsdp.plan", lambda form, context: chosen)
    for _ in range(3):
        edges = [1, *[k for k in cuts(form) if rng.random() < 0.7], len(form.stages) + 1]
        chosen.clear()
        for a, b in itertools.pairwise(edges):
            boxed = bool(rng.random() < 0.4) and not (chosen and chosen[-1].boxed)
            chosen.append(Stretch(a, b, boxed))
        found = lipsdp(form)
        assert steepest <= found.value <= plain
        table = found.pairwise()
        assert_pairs_hold(form, table, seed)
        assert not table.diagonal().any() and (table == table.T).all()


def assert_pairs_hold(form: SignalForm, table: np.ndarray, seed: int) -> None:
    moved, risen = differences_of(form, seed, 200)
    rises = (risen[:, :, None] - risen[:, None, :]).abs()
    quotients = (rises / moved[0].norm(dim=1)[:, None, None]).amax(0).numpy()
    size = max(float(signal.abs().max()) for signal in moved)
    assert (quotients * (1.0 - 1e-9) - 1e-10 * (1.0 + size) <= table).all()


def test_pairs_where_a_box_ends_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one row is no table of outputs: the pairs are those of averaging, or √2 of the whole."""
    form = fold(chain(5, 12, 9, 4, seed=3))
    monkeypatch.setattr(
        "lipcert.bounds.lipsdp.plan",
        lambda form, context: [Stretch(1, 2, boxed=False), Stretch(2, 3, boxed=True)],
    )
    found = lipsdp(form)
    table = found.pairwise()
    assert table.shape == (4, 4)
    assert bool((table[~np.eye(4, dtype=bool)] > 0.0).all())
    assert_pairs_hold(form, table, 3)
    averaged = METHODS["averaged"](form, BoundContext()).pairwise()
    assert (table <= averaged).all()


def test_a_box_never_makes_it_worse_than_averaging(limits) -> None:
    form = fold(chain(6, 10, 60, 10, 10, 3, seed=1))
    holding = [size_of(form, a, b).memory for a in (1, 2) for b in (3, 4, 5)]
    limits(memory=min(holding) * 0.9)
    found = lipsdp(form)
    assert "by their constants only" in found.details
    assert found.value <= METHODS["averaged"](form, BoundContext()).value


def test_models_that_cannot_be_cut(limits) -> None:
    """Every layer reads the input: all or nothing."""
    rng = np.random.default_rng(0)
    d = Drawing(4)
    value = d.relu(d.matrix(rng.standard_normal((6, 4))))
    for _ in range(3):
        value = d.relu(d.matrix(rng.standard_normal((6, 10)) / 3.0, joined(d, value, "x")))
    form = fold(d.graph(joined(d, value, "x")))
    limits(work=work_of(form, [Stretch(1, 5, boxed=False)]) * 0.9)
    assert planned(form) == [Stretch(1, 5, boxed=True)]
    found = lipsdp(form)
    assert steepest_quotient(form, 0) <= found.value
    assert found.value == METHODS["averaged"](form, BoundContext()).value
