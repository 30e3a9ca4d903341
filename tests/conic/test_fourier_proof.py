"""The batched solver and its proof: refused below the optimum, a bound whenever it is stopped."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from lipcert.conic import fourier
from lipcert.conic.fourier import FourierBlock, Reading, Row, holding
from lipcert.conic.fourier_proof import are_proven, proven_families
from lipcert.conic.torus_solver import solve_families
from lipcert.errors import SolverError

CHANNELS, STAGES = 2, 2


def family(seed: int, error: float = 0.0) -> FourierBlock:
    """A chain of ReLU stages with random matrices at six frequencies; ``y = (ρ, t_1 …)``."""
    generator = torch.Generator().manual_seed(seed)
    shape = 6, CHANNELS, CHANNELS

    def reading() -> Reading:
        return Reading(torch.randn(*shape, dtype=torch.complex128, generator=generator), error)

    half = torch.full((CHANNELS,), 0.5, dtype=torch.float64)
    rows = tuple(
        Row(k, {k - 1: reading()}, half, half.square(), 1 + CHANNELS * (k - 1) + torch.arange(2))
        for k in range(1, STAGES + 1)
    )
    heads = torch.zeros(CHANNELS, dtype=torch.int64)
    return FourierBlock((CHANNELS,) * (STAGES + 1), heads, rows, {STAGES: reading()})


def start() -> torch.Tensor:
    return torch.tensor([1e7, 1e4, 1e4, 1e2, 1e2], dtype=torch.float64)


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_is_proved_and_nothing_below_it(seed: int) -> None:
    block = family(seed)
    found = solve_families([block], start(), tolerance=1e-8)
    assert found.ending == "optimal"
    y, share = proven_families([block], found.y, [found.inside])
    assert share <= 1e-6
    below = y.clone()
    below[0] = 0.999999 * found.lower
    assert not are_proven([block], below)
    assert not bool(holding(block, below).all())
    negative = y.clone()
    negative[1] = -negative[1]
    assert not are_proven([block], negative)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_not_known_of_the_coefficients_is_taken_off(seed: int) -> None:
    """Every matrix moved by as much as its error says: what is proved for it holds for them."""
    error = 1e-4
    block = family(seed, error)
    found = solve_families([block], start(), tolerance=1e-8)
    assert not are_proven([block], found.y)  # the optimum of the stored ones alone
    y, _ = proven_families([block], found.y, [found.inside, start()])
    generator = torch.Generator().manual_seed(100 + seed)
    for _ in range(20):

        def moved(reading: Reading) -> Reading:
            off = torch.randn(reading.matrix.shape, dtype=torch.complex128, generator=generator)
            size = torch.linalg.matrix_norm(off, 2)[:, None, None]
            return Reading(reading.matrix + error * off / size)

        rows = tuple(
            replace(row, reads={g: moved(r) for g, r in row.reads.items()}) for row in block.rows
        )
        output = {g: moved(r) for g, r in block.output.items()}
        assert bool(holding(replace(block, rows=rows, output=output), y).all())


def test_errors_too_large_are_said_so() -> None:
    block = family(0, 1e6)
    found = solve_families([block], start())
    with pytest.raises(SolverError, match="no multipliers can be proved"):
        proven_families([block], found.y, [found.inside])


def test_stopped_at_once_the_start_is_the_answer() -> None:
    found = solve_families([family(0)], start(), deadline=time.monotonic() - 1.0)
    assert found.ending == "stopped"
    assert torch.equal(found.y, start())


def test_every_iterate_holds_and_an_interrupt_keeps_the_best() -> None:
    block = family(1)
    seen: list[float] = []

    def report(iteration: int, rho: float, gap: float) -> None:
        seen.append(rho)
        if iteration == 5:
            raise KeyboardInterrupt

    found = solve_families([block], start(), report=report)
    assert found.ending == "interrupted"
    assert float(found.y[0]) == seen[-1] < float(start()[0])
    assert are_proven([block], found.y)


def test_an_infeasible_start_is_refused() -> None:
    with pytest.raises(ValueError, match="not strictly feasible"):
        solve_families([family(0)], start() * torch.tensor([1e-9, 1.0, 1.0, 1.0, 1.0]))


def test_what_is_not_known_mixes_frequencies_of_different_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``ρ − t d² − c²`` at two frequencies: the outputs c are off by ``ε [[0, 1], [1, 0]]``."""
    epsilon = 1e-3
    p = torch.tensor([4.0 * epsilon**2, 6.0 * epsilon], dtype=torch.float64)
    c = torch.tensor([0.0, 1.0], dtype=torch.float64)
    d = (2.0 - c.square() - p).sqrt()
    y = torch.tensor([2.0, 1.0], dtype=torch.float64)
    zero, index = torch.zeros(1, dtype=torch.float64), torch.tensor([1])
    exits = Row(None, {0: Reading(d.reshape(2, 1, 1))}, zero, zero + 1.0, index)
    output = {0: Reading(c.reshape(2, 1, 1), epsilon)}
    block = FourierBlock((1,), torch.tensor([0]), (exits,), output)
    off = torch.diag(c) + epsilon * torch.eye(2, dtype=torch.float64).flip(0)
    true = torch.diag(y[0] - d.square()) - off.T @ off
    assert float(torch.linalg.eigvalsh(true)[0]) < -epsilon / 20.0
    for elements in (fourier.CHUNK_ELEMENTS, 1):
        monkeypatch.setattr(fourier, "CHUNK_ELEMENTS", elements)
        assert not are_proven([block], y)
        assert are_proven([block], y + torch.tensor([8.0 * epsilon, 0.0], dtype=torch.float64))
