"""Ellipsoids of what a family ends in: above the true ones, hardly above them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from families import F64, Drawn, coefficients

from lipcert.conic import exits as module
from lipcert.conic.exits import exit_factors, exit_matrix
from lipcert.conic.fourier import FourierBlock, Reading


def family(seed: int) -> tuple[FourierBlock, dict[int, Reading], torch.Tensor]:
    """Two stages, an exit that reads both and the entry, and multipliers inside."""
    d, sizes = Drawn(seed, 5), (3, 2, 4)
    rows = (d.stage(1, sizes, (0,)), d.stage(2, sizes, (0, 1), leaky=seed % 2 == 1))
    body = FourierBlock(sizes, torch.zeros(3, dtype=torch.int64), rows, {})
    reads = {0: d.reading(3, 3), 1: d.reading(3, 2), 2: d.reading(3, 4)}
    y = 1.0 + torch.rand(d.count, dtype=F64, generator=d.generator)
    y[0] *= 400.0
    y[1:] *= 10.0 ** (seed - 2)
    return body, reads, y


def true_ellipsoids(body: FourierBlock, reads: dict[int, Reading], y: torch.Tensor) -> torch.Tensor:
    P = sum(t * M for t, M in zip(y, coefficients(body, len(y)), strict=True))
    R = exit_matrix(body, reads)
    assert isinstance(P, torch.Tensor)
    return R @ torch.linalg.solve(P, R.mH)


@pytest.mark.parametrize("seed", range(5))
def test_above_the_true_ones_and_hardly_so(seed: int) -> None:
    body, reads, y = family(seed)
    C = exit_factors(body, reads, y)
    assert C is not None
    V, exact = C @ C.mH, true_ellipsoids(body, reads, y)
    size = torch.linalg.eigvalsh(exact)[:, -1]
    above = torch.linalg.eigvalsh(V - exact)
    assert bool((above[:, 0] > 0.0).all())
    assert bool((above[:, -1] < 1e-9 * size).all())


def test_what_is_not_known_exactly_counts() -> None:
    """Readings that are off by as much as their errors say stay inside."""
    body, reads, y = family(2)
    error = 1e-4
    rows = [
        replace(row, reads={g: Reading(part.matrix, error) for g, part in row.reads.items()})
        for row in body.rows
    ]
    vague = replace(body, rows=tuple(rows))
    C = exit_factors(vague, {g: Reading(part.matrix, error) for g, part in reads.items()}, y)
    assert C is not None
    generator = torch.Generator().manual_seed(0)

    def moved(part: Reading) -> Reading:
        noise = torch.randn(part.matrix.shape, dtype=torch.complex128, generator=generator)
        return Reading(
            part.matrix + error * noise / torch.linalg.matrix_norm(noise, 2)[:, None, None]
        )

    for _ in range(20):
        rows = [
            replace(row, reads={g: moved(part) for g, part in row.reads.items()})
            for row in body.rows
        ]
        others = {g: moved(part) for g, part in reads.items()}
        exact = true_ellipsoids(replace(body, rows=tuple(rows)), others, y)
        assert bool((torch.linalg.eigvalsh(C @ C.mH - exact)[:, 0] > 0.0).all())


def test_nothing_is_proved_outside_the_cone() -> None:
    body, reads, y = family(0)
    assert exit_factors(body, reads, y * torch.tensor([1e-9] + [1.0] * (len(y) - 1))) is None
    assert exit_factors(body, reads, -y) is None
    assert exit_factors(body, reads, y * torch.nan) is None
    wide = {g: Reading(part.matrix, 1e6) for g, part in reads.items()}
    assert exit_factors(body, wide, y) is None


def test_a_factor_below_its_matrix_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_raised", lambda V, by: 0.99 * V)
    V = torch.eye(3, dtype=torch.complex128).expand(2, -1, -1)
    assert module._factor_above(V) is None
