"""Lower bounds: the steepest slope found by a search over inputs.

The norm of a Jacobian at a point where the model is differentiable is at most the Lipschitz
constant.  The search climbs the quotient ``‖f(x+d) − f(x−d)‖ / ‖2d‖`` by gradient ascent, whose
step d spans the kinks that a Jacobian does not see, and goes on from there by trying points at
random.  Each Jacobian's norm comes from a p-norm power method (Higham 1992; l2: power iteration).
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from lipcert.graph import Graph

SAFETY = 1e-10
"""Relative amount taken off a computed slope, far more than its rounding."""
POPULATION = 32
"""Points tried at once, fewer where the model is slow."""
FEWEST = 6
"""Fewest points tried at once."""
PASSES = 150
"""Forward passes of the population that should fit into the time given."""
ASCENT_STEPS = 40
"""Gradient steps on the quotients of pairs."""
POLISH_ROUNDS, POLISH_STEPS = 20, 10
"""Power steps at the steepest point found, in rounds until one gains nothing."""
ASCENT_SHARE = 0.5
"""Part of the time given to them."""


def lower_bound(
    graph: Graph,
    *,
    norm: str = "l2",
    seconds: float = 2.0,
    rounds: int = 200,
    starts: Tensor | None = None,
    seed: int = 0,
) -> float:
    """A slope of the model found somewhere: the Lipschitz constant is not below it.

    Parameters
    ----------
    seconds, rounds : limits of the search; one round is always made.
    starts : points ``(N, *sample_shape)`` to begin from, such as data; random ones otherwise.
    """
    generator = torch.Generator().manual_seed(seed)
    started = time.monotonic()
    points = _first_points(graph, starts, generator)
    points = points[_spread(len(points), _affordable(graph, points, seconds))]
    directions = torch.randn(points.shape, dtype=torch.float64, generator=generator)
    directions = directions.to(graph.device)
    slopes, directions = _slopes(graph, points, directions, norm, steps=12)
    climbed, along = _ascend_pairs(
        graph, points, directions, norm, started + ASCENT_SHARE * seconds
    )
    points, directions, slopes = _best_half(
        graph, (points, climbed), (directions, along), slopes, norm, steps=12
    )
    deadline = started + seconds
    for _ in range(rounds):
        if time.monotonic() > deadline:
            break
        tried, along = _moved(points, directions, slopes, generator)
        points, directions, slopes = _best_half(
            graph, (points, tried), (directions, along), slopes, norm, steps=6
        )
    best = _polished(graph, points[:1], directions[:1], float(slopes[0]), norm)
    return max(0.0, best * (1.0 - SAFETY))


def _affordable(graph: Graph, points: Tensor, seconds: float) -> int:
    """How many points can be tried at once so that enough passes fit into the time."""
    graph.evaluate(points[:2])
    started = time.monotonic()
    graph.evaluate(points[:2])
    each = (time.monotonic() - started) / 2.0
    fits = seconds / (PASSES * max(each, 1e-9))
    return int(min(len(points), max(FEWEST, fits)))


def _spread(size: int, count: int) -> Tensor:
    """``count`` indices spread evenly over ``size``."""
    return torch.linspace(0, size - 1, count).round().long()


def _first_points(graph: Graph, starts: Tensor | None, generator: torch.Generator) -> Tensor:
    shape = graph.sample_shape
    random = torch.randn(POPULATION, *shape, dtype=torch.float64, generator=generator)
    spread = torch.logspace(-2, 1, POPULATION, dtype=torch.float64)
    points = (random * spread.reshape(-1, *(1,) * len(shape))).to(graph.device)
    if starts is None or not len(starts):
        return points
    chosen = starts[: POPULATION // 2].to(graph.device, torch.float64)
    # off the zeros and ties that data are full of: what a chain of derivatives gives exactly on
    # a kink need not be a slope anywhere near it
    noise = torch.randn(chosen.shape, dtype=torch.float64, generator=generator).to(chosen)
    chosen = chosen + 1e-4 * float(chosen.abs().max().clamp(min=1e-3)) * noise
    return torch.cat((chosen, points[: POPULATION - len(chosen)]))


def _polished(graph: Graph, point: Tensor, direction: Tensor, slope: float, norm: str) -> float:
    """The slope at one point after enough power steps to converge."""
    for _ in range(POLISH_ROUNDS):
        found, direction = _slopes(graph, point, direction, norm, steps=POLISH_STEPS)
        gained = float(found[0]) - slope
        slope = max(slope, float(found[0]))
        if gained <= 1e-13 * slope:
            break
    return slope


def _best_half(
    graph: Graph,
    points: tuple[Tensor, Tensor],
    directions: tuple[Tensor, Tensor],
    slopes: Tensor,
    norm: str,
    *,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The steepest of the points known and those newly tried, with directions and slopes."""
    found, turned = _slopes(graph, points[1], directions[1], norm, steps=steps)
    everything = torch.cat((slopes, found))
    order = everything.argsort(descending=True)[: len(slopes)]
    kept = torch.cat((directions[0], turned))[order]
    return torch.cat(points)[order], kept, everything[order]


def _ascend_pairs(
    graph: Graph, points: Tensor, directions: Tensor, norm: str, deadline: float
) -> tuple[Tensor, Tensor]:
    """Points and directions after gradient ascent on the quotients of pairs around the points."""
    flat = (-1, *(1,) * (points.dim() - 1))
    size = _rows(points).norm(dim=1).reshape(flat).clamp(min=1e-3)
    reach = torch.logspace(-2, -0.3, len(points), dtype=torch.float64, device=points.device)
    unit = directions / _rows(directions).norm(dim=1).reshape(flat).clamp(min=1e-300)
    shuffled = reach[torch.arange(len(points)) * 7 % len(points)].reshape(flat)
    x = (points / size).requires_grad_()
    d = (unit * shuffled).requires_grad_()
    rate = 0.3 / points[0].numel() ** 0.5
    optimizer = torch.optim.Adam([x, d], lr=rate)
    for _ in range(ASCENT_STEPS):
        if time.monotonic() > deadline:
            break
        optimizer.zero_grad()
        rise = graph.evaluate(size * (x + d)) - graph.evaluate(size * (x - d))
        quotient = _vector_norm(rise, norm).reshape(-1) / _vector_norm(d, norm).reshape(-1)
        torch.autograd.backward(-quotient.clamp(min=1e-300).log().sum())
        optimizer.step()
    return (size * x).detach(), d.detach()


def _moved(
    points: Tensor, directions: Tensor, slopes: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """New points: steps of random length along the steepest directions and at random."""
    order = slopes.argsort(descending=True)
    best = order[torch.arange(len(order)) % max(1, len(order) // 4)]
    base, along = points[best], directions[best]
    count = len(base)
    flat = (count, *(1,) * (points.dim() - 1))
    size = _rows(base).norm(dim=1).reshape(flat).clamp(min=1e-3)
    unit = along / _rows(along).norm(dim=1).reshape(flat).clamp(min=1e-300)
    noise = torch.randn(base.shape, dtype=torch.float64, generator=generator).to(base.device)
    noise = noise / _rows(noise).norm(dim=1).reshape(flat)
    lengths = torch.randn(count, 2, dtype=torch.float64, generator=generator).exp() * 0.3
    signs = torch.randint(0, 2, (count, 2), generator=generator) * 2 - 1
    reach = (lengths * signs).to(base.device)
    step = reach[:, :1].reshape(flat) * unit + reach[:, 1:].reshape(flat) * noise
    return base + size * step, along


def _slopes(
    graph: Graph, points: Tensor, directions: Tensor, norm: str, *, steps: int
) -> tuple[Tensor, Tensor]:
    """Induced norms of the Jacobians at ``points``, each from below, and the input directions."""
    pull = torch.func.vjp(graph.evaluate, points)[1]
    v = directions
    best = torch.zeros(len(points), dtype=torch.float64, device=points.device)
    chosen = v
    for _ in range(steps):
        v = v / _vector_norm(v, norm).clamp(min=1e-300)
        image = torch.func.jvp(graph.evaluate, (points,), (v,))[1]
        size = _vector_norm(image, norm).reshape(-1)
        size = torch.where(torch.isfinite(size), size, torch.zeros_like(size))
        better = size > best
        best = torch.where(better, size, best)
        chosen = torch.where(better.reshape(-1, *(1,) * (v.dim() - 1)), v, chosen)
        (gradient,) = pull(_dual(image, norm))
        v = _dual_input(gradient, norm)
    return best, chosen


def _rows(x: Tensor) -> Tensor:
    """Samples as rows ``(n, elements)``; those of models of single numbers have no axes."""
    return x.flatten(1) if x.dim() > 1 else x[:, None]


def _vector_norm(x: Tensor, norm: str) -> Tensor:
    p = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}[norm]
    size: Tensor = torch.linalg.vector_norm(_rows(x), p, dim=1)
    return size.reshape(-1, *(1,) * (x.dim() - 1))


def _dual(image: Tensor, norm: str) -> Tensor:
    """A cotangent whose pairing with ``image`` is its norm, up to scale."""
    if norm == "l2":
        return image
    if norm == "l1":
        return image.sign()
    flat = _rows(image)
    peak = flat.abs().argmax(1, keepdim=True)
    return (
        torch.zeros_like(flat).scatter_(1, peak, flat.gather(1, peak).sign()).reshape(image.shape)
    )


def _dual_input(gradient: Tensor, norm: str) -> Tensor:
    """The unit input that pairs best with a gradient."""
    if norm == "l2":
        return gradient
    if norm == "linf":
        return torch.where(gradient >= 0, 1.0, -1.0).to(gradient)
    flat = _rows(gradient)
    peak = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter_(1, peak, 1.0).reshape(gradient.shape)
