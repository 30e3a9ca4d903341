"""A stretch says what the whole says, and one after another they come near its optimum."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from families import F64, Drawn
from torch import Tensor

from lipcert.conic import cuts
from lipcert.conic.fourier import FourierBlock, Row, holding
from lipcert.conic.stretches import _Descent, _Problem, _stretches_of, solve_by_stretches
from lipcert.conic.torus_solver import solve_families
from lipcert.conic.torus_start import central_start

STAGES = 9


def chain(seed: int) -> tuple[list[FourierBlock], int]:
    """Stages one behind the other."""
    d, sizes = Drawn(seed, 4), (2, 3, 2, 3, 2, 3, 2, 3, 2, 3)
    rows = tuple(d.stage(k, sizes, (k - 1,)) for k in range(1, STAGES + 1))
    heads = torch.zeros(2, dtype=torch.int64)
    return [FourierBlock(sizes, heads, rows, {STAGES: d.reading(2, 3)})], d.count


def residual(seed: int) -> tuple[list[FourierBlock], int]:
    """Blocks of two stages with a skip around them, some slopes not 0, and two outputs read."""
    d, sizes = Drawn(seed, 4), (2,) * (STAGES + 1)
    rows = tuple(
        d.stage(k, sizes, (k - 1,) if k % 2 else (k - 2, k - 1), leaky=k % 3 == 0)
        for k in range(1, STAGES + 1)
    )
    heads = torch.zeros(2, dtype=torch.int64)
    output = {STAGES - 1: d.reading(2, 2), STAGES: d.reading(2, 2)}
    return [FourierBlock(sizes, heads, rows, output)], d.count


def with_a_head(seed: int) -> tuple[list[FourierBlock], int]:
    """Stages, a maximum over windows, a coupling, and stages of one real block behind it."""
    d, sizes = Drawn(seed, 4), (2, 3, 2, 4, 3, 2)
    rows = [d.stage(k, sizes, (k - 1,)) for k in (1, 2, 3)]
    pooled, zero, one = d.multipliers(3), torch.zeros(6, dtype=F64), torch.ones(6, dtype=F64)
    rows.append(Row(4, {3: d.reading(3, 4)}, zero[:3], zero[:3], pooled))
    taps = {3: d.reading(6, 4)}
    rows.append(Row(None, taps, zero, one, pooled.repeat_interleave(2)))
    rows.append(d.stage(5, sizes, (4,)))
    couplings = d.multipliers(2)
    rows.append(Row(None, {5: d.reading(2, 2)}, zero[:2], one[:2], couplings))
    entry = FourierBlock(sizes, torch.zeros(2, dtype=torch.int64), tuple(rows), {})
    d.batch, d.dtype = 1, F64
    behind = (2, 3, 3, 2)
    stages = tuple(d.stage(k, behind, (k - 1,)) for k in (1, 2, 3))
    return [entry, FourierBlock(behind, couplings, stages, {3: d.reading(2, 2)})], d.count


CHAINS = {draw.__name__: draw for draw in (chain, residual, with_a_head)}


@pytest.fixture(params=CHAINS)
def drawn(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[FourierBlock], Tensor]:
    """Families that are cut into short stretches, and a start."""
    monkeypatch.setattr(cuts, "DEEP", 2)
    monkeypatch.setattr(cuts, "SPAN", 4)
    families, count = CHAINS[request.param](3)
    start = central_start(families, count)
    assert start is not None
    return families, start


def least(held: list[FourierBlock], y: Tensor, scaled: Tensor) -> float:
    """The least t for which all blocks hold where some multipliers are scaled by it."""
    low, high = 0.0, 4.0
    for _ in range(60):
        t = 0.5 * (low + high)
        at = torch.where(scaled, t * y, y)
        fine = all(bool(holding(family, at).all()) for family in held)
        low, high = (low, t) if fine else (t, high)
    return high


def problems(families: list[FourierBlock], y: Tensor) -> list[_Problem]:
    """Those of all stretches at the same multipliers."""
    stretches = _stretches_of(families)
    descent = _Descent(families, stretches, y)
    found = [descent.problem(stretch, y) for stretch in stretches]
    assert len(found) > 2
    kept = [own for own in found if own is not None]
    assert len(kept) == len(found)
    return kept


def test_a_stretch_needs_as_much_as_the_whole(drawn: tuple[list[FourierBlock], Tensor]) -> None:
    """Whatever multipliers it has itself, the least t is that of the whole."""
    families, y = drawn
    generator = torch.Generator().manual_seed(0)
    for own in problems(families, y):
        factors = torch.exp(0.2 * torch.randn(len(own.own), dtype=F64, generator=generator))
        for others in (y[own.own], factors * y[own.own], own.start[1:]):
            local = torch.cat((y.new_ones(1), others))
            scaled = torch.zeros(len(local), dtype=torch.bool)
            scaled[0] = True
            whole = own.applied(local)
            needed = least(families, whole, own.before)
            assert least(own.families, local, scaled) == pytest.approx(needed, rel=1e-6)


def test_every_step_holds_and_none_makes_the_bound_larger(
    drawn: tuple[list[FourierBlock], Tensor],
) -> None:
    families, start = drawn
    outcome = solve_by_stretches(families, start)
    assert outcome.stretches > 2
    assert outcome.ending == "optimal"
    objectives = [float(start[0]), *(rho for rho, _ in outcome.history)]
    assert all(after <= before for before, after in pairwise(objectives))
    for y in (outcome.y, outcome.inside):
        assert all(bool(holding(family, y).all()) for family in families)


def test_near_the_optimum_of_the_whole(drawn: tuple[list[FourierBlock], Tensor]) -> None:
    families, start = drawn
    exact = solve_families(families, start)
    found = solve_by_stretches(families, start)
    assert exact.ending == "optimal"
    ratio = float(found.y[0] / exact.y[0])
    assert 1.0 - 1e-5 < ratio < 1.1


def test_without_time_the_start_is_kept(drawn: tuple[list[FourierBlock], Tensor]) -> None:
    families, start = drawn
    outcome = solve_by_stretches(families, start, deadline=0.0)
    assert outcome.ending == "stopped"
    assert float(outcome.y[0]) <= float(start[0])
    assert all(bool(holding(family, outcome.y).all()) for family in families)


def test_an_infeasible_start_is_refused(drawn: tuple[list[FourierBlock], Tensor]) -> None:
    families, start = drawn
    with pytest.raises(ValueError, match="strictly feasible"):
        solve_by_stretches(families, 1e-3 * start)


def test_shallow_families_are_solved_at_once() -> None:
    families, count = chain(5)
    start = central_start(families, count)
    assert start is not None
    outcome = solve_by_stretches(families, start)
    assert outcome.stretches == 1
    assert torch.equal(outcome.y, solve_families(families, start).y)
