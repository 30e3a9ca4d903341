"""Lower bounds: the steepest slope found by a search over inputs.

The norm of a Jacobian at a point where the model is differentiable is at most the Lipschitz
constant.  The search hill-climbs over points in batches and finds each norm by a p-norm power
method (Higham 1992; l2: power iteration).
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from lipcert.graph import Graph

SAFETY = 1e-10
"""Relative amount taken off a computed slope, far more than its rounding."""
POPULATION = 32
"""Points tried at once."""


def lower_bound(
    graph: Graph,
    *,
    norm: str = "l2",
    seconds: float = 2.0,
    rounds: int = 12,
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
    points = _first_points(graph, starts, generator)
    directions = torch.randn(points.shape, dtype=torch.float64, generator=generator)
    directions = directions.to(graph.device)
    deadline = time.monotonic() + seconds
    slopes, directions = _slopes(graph, points, directions, norm, steps=12)
    for _ in range(rounds):
        if time.monotonic() > deadline:
            break
        tried, along = _moved(points, directions, slopes, generator)
        found, turned = _slopes(graph, tried, along, norm, steps=6)
        everything = torch.cat((slopes, found))
        order = everything.argsort(descending=True)[: len(slopes)]
        points = torch.cat((points, tried))[order]
        directions = torch.cat((directions, turned))[order]
        slopes = everything[order]
    best = float(slopes.max())
    return max(0.0, best * (1.0 - SAFETY))


def _first_points(graph: Graph, starts: Tensor | None, generator: torch.Generator) -> Tensor:
    shape = graph.sample_shape
    random = torch.randn(POPULATION, *shape, dtype=torch.float64, generator=generator)
    spread = torch.logspace(-2, 1, POPULATION, dtype=torch.float64)
    points = (random * spread.reshape(-1, *(1,) * len(shape))).to(graph.device)
    if starts is None or not len(starts):
        return points
    chosen = starts[: POPULATION // 2].to(graph.device, torch.float64)
    return torch.cat((chosen, points[: POPULATION - len(chosen)]))


def _moved(
    points: Tensor, directions: Tensor, slopes: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """New points: steps of random length along the steepest directions and at random."""
    order = slopes.argsort(descending=True)
    best = order[torch.arange(len(order)) % max(1, len(order) // 4)]
    base, along = points[best], directions[best]
    count = len(base)
    flat = (count, *(1,) * (points.dim() - 1))
    size = base.flatten(1).norm(dim=1).reshape(flat).clamp(min=1e-3)
    unit = along / along.flatten(1).norm(dim=1).reshape(flat).clamp(min=1e-300)
    noise = torch.randn(base.shape, dtype=torch.float64, generator=generator).to(base.device)
    noise = noise / noise.flatten(1).norm(dim=1).reshape(flat)
    lengths = torch.randn(count, 2, dtype=torch.float64, generator=generator).exp() * 0.3
    signs = torch.randint(0, 2, (count, 2), generator=generator) * 2 - 1
    reach = (lengths * signs).to(base.device)
    step = reach[:, :1].reshape(flat) * unit + reach[:, 1:].reshape(flat) * noise
    return base + size * step, along


def _slopes(
    graph: Graph, points: Tensor, directions: Tensor, norm: str, *, steps: int
) -> tuple[Tensor, Tensor]:
    """Induced norms of the Jacobians at ``points``, each from below, and the input directions."""
    outputs, pull = torch.func.vjp(graph.evaluate, points)
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


def _vector_norm(x: Tensor, norm: str) -> Tensor:
    p = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}[norm]
    size = torch.linalg.vector_norm(x.flatten(1), p, dim=1)
    return size.reshape(-1, *(1,) * (x.dim() - 1))


def _dual(image: Tensor, norm: str) -> Tensor:
    """A cotangent whose pairing with ``image`` is its norm, up to scale."""
    if norm == "l2":
        return image
    if norm == "l1":
        return image.sign()
    flat = image.flatten(1)
    peak = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter_(1, peak, flat.gather(1, peak).sign()).reshape(image.shape)


def _dual_input(gradient: Tensor, norm: str) -> Tensor:
    """The unit input that pairs best with a gradient."""
    if norm == "l2":
        return gradient
    if norm == "linf":
        return torch.where(gradient >= 0, 1.0, -1.0).to(gradient)
    flat = gradient.flatten(1)
    peak = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter_(1, peak, 1.0).reshape(gradient.shape)
