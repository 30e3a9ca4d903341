"""Blocks of all frequencies and dense stages in one problem: the barrier and where it leads."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from families import F64, Drawn, coefficients
from torch import Tensor

from lipcert.conic import arrow as arrow_module
from lipcert.conic import joint as module
from lipcert.conic.arrow import Barrier, Head, Joint
from lipcert.conic.fourier import FourierBlock
from lipcert.conic.joint import solve_joint

ROWS, NEURONS, SIDE = 5, 6, 7


def head() -> Head:
    """Four neurons that read the image, two behind them, and an output that reads both."""
    generator = torch.Generator().manual_seed(1)
    constant = torch.zeros(SIDE, SIDE, dtype=F64)
    C = 0.2 * torch.randn(NEURONS, dtype=F64, generator=generator)
    constant[6, 6], constant[6, :6], constant[:6, 6] = 1.0, C, C
    slopes = torch.zeros(NEURONS, SIDE, SIDE, dtype=F64)
    A = 0.3 * torch.randn(2, 4, dtype=F64, generator=generator)
    for j in range(NEURONS):
        slopes[j, j, j] = 1.0
    for j in range(2):
        slopes[4 + j, 4 + j, :4] = slopes[4 + j, :4, 4 + j] = -0.5 * A[j]
    centre = torch.tensor([0.5, 0.5, 0.4, 0.5, -1.0], dtype=F64)
    neuron = torch.tensor([0, 1, 2, 3, -1])
    return Head(constant, slopes, torch.tensor([0, 1, 2, 3, 6]), centre, neuron)


def problem(seed: int) -> Joint:
    """Two stages, one with slopes that hold no 0, at four frequencies."""
    d, sizes = Drawn(seed, 4), (3, 2, 4)
    rows = (d.stage(1, sizes, (0,)), d.stage(2, sizes, (0, 1), leaky=True))
    body = FourierBlock(sizes, torch.zeros(3, dtype=torch.int64), rows, {})
    exits = 0.3 * torch.randn(4, 3, 9, dtype=torch.complex128, generator=d.generator)
    reads = 0.3 * torch.randn(4, ROWS, 3, dtype=torch.complex128, generator=d.generator)
    weights = torch.full((4,), 2.0, dtype=F64)
    return Joint(body, exits, weights, reads, head(), d.count)


def start(joint: Joint, seed: int = 0) -> Tensor:
    """Multipliers well inside."""
    generator = torch.Generator().manual_seed(seed)
    y = 1.0 + torch.rand(joint.count + NEURONS, dtype=F64, generator=generator)
    y[0] *= 400.0
    y[1 : joint.count] *= 20.0
    y[joint.count :] += 1.0
    return y


def arrow(joint: Joint, y: Tensor) -> Tensor:
    """The whole matrix: each frequency as itself and as its conjugate."""
    count, q, side = joint.count, joint.exits.shape[1], joint.body.side
    P = sum(t * M for t, M in zip(y[:count], coefficients(joint.body, count), strict=True))
    assert isinstance(P, Tensor)
    assert q == 3
    a = joint.head.leading(y[count:])
    B = (a[:, None] * joint.reads) @ joint.exits
    pairs = [(P[k], B[k]) for k in range(4)]
    pairs += [(p.conj(), b.conj()) for p, b in pairs]
    whole = torch.zeros(len(pairs) * side + SIDE, len(pairs) * side + SIDE, dtype=P.dtype)
    S0 = joint.head.constant + torch.tensordot(y[count:], joint.head.slopes, 1)
    whole[-SIDE:, -SIDE:] = S0.to(P.dtype)
    at = len(whole) - SIDE + joint.head.at
    for k, (p, b) in enumerate(pairs):
        own = slice(k * side, (k + 1) * side)
        whole[own, own], whole[at, own], whole[own, at] = p, b, b.mH
    return whole


@pytest.mark.parametrize("seed", range(4))
def test_derivatives_of_the_barrier(seed: int) -> None:
    """Against differentiation of the arrow's determinant; S counts ``heavy`` times."""
    joint = problem(seed)
    y = start(joint, seed)
    run = Barrier(joint, 100.0 * y)
    point = run.at(y)
    assert point is not None

    def barrier(y: Tensor) -> Tensor:
        count = joint.count
        P = sum(t * M for t, M in zip(y[:count], coefficients(joint.body, count), strict=True))
        assert isinstance(P, Tensor)
        body = joint.weights @ torch.logdet(P).real
        whole = torch.logdet(arrow(joint, y)).real
        room = (1.0 - y / run.most).log().sum() * run.heavy
        return -body - run.heavy * (whole - body) - room

    assert point.barrier == pytest.approx(float(barrier(y)), rel=1e-12)
    g, H = run.derivatives(point)
    exact = torch.autograd.functional.jacobian(barrier, y)
    torch.testing.assert_close(g, exact, rtol=1e-9, atol=1e-9 * float(exact.abs().max()))
    exact = torch.autograd.functional.hessian(barrier, y)
    torch.testing.assert_close(H, exact, rtol=1e-8, atol=1e-9 * float(exact.abs().max()))


@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_at_the_boundary(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feasible, and no multipliers near it with a smaller y_0 are."""
    monkeypatch.setattr(module, "MOST_GROWTH", 1e6)
    joint = problem(seed)
    found = solve_joint(joint, start(joint), tolerance=1e-6)
    assert found.ending == "optimal"
    assert float(torch.linalg.eigvalsh(arrow(joint, found.y))[0]) > 0.0
    other = solve_joint(joint, start(joint, 7), tolerance=1e-6)
    assert float(other.y[0]) == pytest.approx(float(found.y[0]), rel=2e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(200):
        noise = torch.randn(len(found.y), dtype=F64, generator=generator)
        y = found.y * (0.05 * noise).exp()
        y[0] = 0.99 * found.y[0]
        assert float(torch.linalg.eigvalsh(arrow(joint, y))[0]) < 0.0


def test_many_frequencies_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    joint = problem(0)
    y = start(joint)
    whole = Barrier(joint, 100.0 * y)
    monkeypatch.setattr(arrow_module, "CHUNK_ELEMENTS", 1)
    parts = Barrier(joint, 100.0 * y)
    assert len(parts.chunks) == 4
    points = whole.at(y), parts.at(y)
    assert points[0] is not None
    assert points[1] is not None
    for one, other in zip(whole.derivatives(points[0]), parts.derivatives(points[1]), strict=True):
        torch.testing.assert_close(one, other)


def test_stops_where_it_must() -> None:
    joint = problem(0)
    y = start(joint)
    late = solve_joint(joint, y, deadline=time.monotonic() - 1.0)
    assert late.ending == "stopped"
    assert torch.equal(late.y, y)

    def report(iteration: int, rho: float, gap: float) -> None:
        if iteration == 3:
            raise KeyboardInterrupt

    halted = solve_joint(joint, y, report=report)
    assert halted.ending == "interrupted"
    assert halted.iterations == 3
    assert float(torch.linalg.eigvalsh(arrow(joint, halted.y))[0]) > 0.0
    with pytest.raises(ValueError, match="not strictly feasible"):
        solve_joint(joint, 1e-3 * y)


def test_no_neurons() -> None:
    """A linear head: outputs alone."""
    joint = problem(2)
    unit = torch.eye(ROWS, dtype=F64)
    own = Head(
        unit,
        unit[:0, :, None] * unit,
        torch.arange(ROWS),
        -torch.ones(ROWS, dtype=F64),
        torch.full((ROWS,), -1),
    )
    joint = replace(joint, head=own)
    found = solve_joint(joint, start(joint)[: joint.count], tolerance=1e-6)
    assert found.ending == "optimal"
    P = sum(t * M for t, M in zip(found.y, coefficients(joint.body, joint.count), strict=True))
    half = joint.reads @ joint.exits
    gram = (half @ torch.linalg.solve(P, half.mH)).real
    largest = torch.linalg.eigvalsh((joint.weights[:, None, None] * gram).sum(0))[-1]
    assert 0.999 < float(largest) < 1.0
