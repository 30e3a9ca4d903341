"""Lower bounds: the steepest slope found by a search over inputs.

The search begins with the norm of one Jacobian (:mod:`lipcert.bounds.slopes`).  Where the model is
fast enough it then climbs the quotient ``‖f(x+d) − f(x−d)‖ / ‖2d‖`` at many points by gradient
ascent, whose step d spans the kinks that a Jacobian does not see, and goes on from there by trying
points at random.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from lipcert.bounds.slopes import Clock, rows, slopes_at, unrounded, vector_norm
from lipcert.graph import Graph
from lipcert.spectral.tensors import unit_vectors

SAFETY = 1e-10
"""Relative amount taken off a computed slope, far more than its rounding."""
LEAST = 1e-300
"""Slope from which on less is not told apart from underflow."""
POPULATION = 32
"""Points tried at once, fewer where the model is slow."""
FEWEST = 6
"""Fewest points tried at once; where they are too many, only one is."""
PASSES, FEWEST_PASSES = 150, 60
"""Forward passes that should fit into the time given: of the population, and of the fewest."""
ASCENT_STEPS = 40
"""Gradient steps on the quotients of pairs."""
POLISH_ROUNDS, POLISH_STEPS = 20, 10
"""Power steps at the steepest point found, in rounds until one gains nothing."""
ASCENT_END, ROUNDS_END = 0.5, 0.85
"""Parts of the time after which the ascent and the trying of points end."""

Found = tuple[Tensor, Tensor, Tensor]
"""Points, directions, and slopes there."""


def lower_bound(
    graph: Graph,
    *,
    norm: str = "l2",
    seconds: float = 2.0,
    rounds: int = 200,
    starts: Tensor | None = None,
    seed: int = 0,
    now: Callable[[], float] = time.monotonic,
) -> float:
    """A slope of the model found somewhere: the Lipschitz constant is not below it.

    Parameters
    ----------
    seconds, rounds : limits of the search.  One step at one point is always made, and what it
        found is looked at twice; the time is looked at between any two steps, and none begins
        after it.
    starts : points ``(N, *sample_shape)`` to begin from, such as data; random ones otherwise.
    now : tells the time in seconds.
    """
    generator = torch.Generator().manual_seed(seed)
    clock = Clock(now(), seconds, now, graph.device)
    found = first = _first(graph, norm, 1, starts, generator, clock, steps=1)
    count = _affordable(graph, found[0], clock)
    if count > 1:
        many = _first(graph, norm, count, starts, generator, clock, steps=12)
        found = _searched(graph, many, norm, rounds, generator, clock)
    found = _polished(graph, found, norm, clock)
    best = found if float(found[2][0]) > float(first[2][0]) else first
    slope = unrounded(graph, best[0][:1], best[1][:1], norm, clock)
    return max(0.0, slope * (1.0 - SAFETY) - LEAST)


def _first(
    graph: Graph,
    norm: str,
    count: int,
    starts: Tensor | None,
    generator: torch.Generator,
    clock: Clock,
    *,
    steps: int,
) -> Found:
    """So many points to begin from, and slopes there after power steps in random directions."""
    points = _first_points(graph, starts, count, generator)
    directions = torch.randn(points.shape, dtype=torch.float64, generator=generator)
    slopes, directions = slopes_at(
        graph, points, directions.to(graph.device), norm, steps=steps, clock=clock
    )
    return points, directions, slopes


def _searched(
    graph: Graph, found: Found, norm: str, rounds: int, generator: torch.Generator, clock: Clock
) -> Found:
    """Steeper points: by ascent of pairs, then by trying what lies around the steepest."""
    climbed = _ascend_pairs(graph, found[0], found[1], norm, clock)
    found = _best_half(graph, found, climbed, norm, clock, steps=12)
    for _ in range(rounds):
        if clock.over(ROUNDS_END):
            break
        found = _best_half(graph, found, _moved(*found, generator), norm, clock, steps=6)
    return found


def _affordable(graph: Graph, point: Tensor, clock: Clock) -> int:
    """How many points can be tried at once so that enough passes fit into the time; 1 for few.

    Nothing is timed that might take long: one point before several.
    """
    if clock.over():
        return 1
    one = clock.timed(lambda: graph.evaluate(point))
    if 4 * FEWEST * one > clock.seconds:
        return 1
    several = point.repeat(FEWEST, *(1,) * (point.dim() - 1))
    few = clock.timed(lambda: graph.evaluate(several))
    if few * FEWEST_PASSES > clock.seconds:
        return 1
    fits = FEWEST * clock.seconds / (PASSES * max(few, 1e-9))
    return int(min(POPULATION, max(FEWEST, fits)))


def _first_points(
    graph: Graph, starts: Tensor | None, count: int, generator: torch.Generator
) -> Tensor:
    shape = graph.sample_shape
    taken = 0 if starts is None else min(len(starts), max(1, count // 2))
    chosen = torch.linspace(0, 0 if starts is None else len(starts) - 1, taken).round().long()
    random = torch.randn(count - taken, *shape, dtype=torch.float64, generator=generator)
    spread = torch.logspace(-2, 1, count + 2, dtype=torch.float64)[1 : count - taken + 1]
    points = (random * spread.reshape(-1, *(1,) * len(shape))).to(graph.device)
    if starts is None or not taken:
        return points
    own = starts[chosen].to(graph.device, torch.float64)
    # off the zeros and ties that data are full of: what a chain of derivatives gives exactly on
    # a kink need not be a slope anywhere near it
    noise = torch.randn(own.shape, dtype=torch.float64, generator=generator).to(own)
    own = own + 1e-4 * float(own.abs().max().clamp(min=1e-3)) * noise
    return torch.cat((own, points))


def _polished(graph: Graph, found: Found, norm: str, clock: Clock) -> Found:
    """The first point alone, after enough power steps for its slope to converge."""
    point, direction, slope = (part[:1] for part in found)
    for _ in range(POLISH_ROUNDS):
        if clock.over():
            break
        size, turned = slopes_at(graph, point, direction, norm, steps=POLISH_STEPS, clock=clock)
        gained = float(size - slope)
        if gained > 0.0:
            direction, slope = turned, size
        if gained <= 1e-13 * float(slope):
            break
    return point, direction, slope


def _best_half(
    graph: Graph,
    known: Found,
    tried: tuple[Tensor, Tensor],
    norm: str,
    clock: Clock,
    *,
    steps: int,
) -> Found:
    """The steepest of the points known and those newly tried, steepest first; with no time left
    to try any, those known."""
    points, directions, slopes = known
    if not clock.over():
        found, turned = slopes_at(graph, tried[0], tried[1], norm, steps=steps, clock=clock)
        points, slopes = torch.cat((points, tried[0])), torch.cat((slopes, found))
        directions = torch.cat((directions, turned))
    order = slopes.argsort(descending=True)[: len(known[2])]
    return points[order], directions[order], slopes[order]


def _ascend_pairs(
    graph: Graph, points: Tensor, directions: Tensor, norm: str, clock: Clock
) -> tuple[Tensor, Tensor]:
    """Points and directions after gradient ascent on the quotients of pairs around the points."""
    flat = (-1, *(1,) * (points.dim() - 1))
    size = rows(points).norm(dim=1).reshape(flat).clamp(min=1e-3)
    reach = torch.logspace(-2, -0.3, len(points), dtype=torch.float64, device=points.device)
    unit = unit_vectors(rows(directions), (1,)).reshape(points.shape)
    shuffled = reach[torch.arange(len(points)) * 7 % len(points)].reshape(flat)
    x = (points / size).requires_grad_()
    d = (unit * shuffled).requires_grad_()
    rate = 0.3 / points[0].numel() ** 0.5
    optimizer = torch.optim.Adam([x, d], lr=rate)
    for _ in range(ASCENT_STEPS):
        if clock.over(ASCENT_END):
            break
        optimizer.zero_grad()
        rise = graph.evaluate(size * (x + d)) - graph.evaluate(size * (x - d))
        quotient = vector_norm(rise, norm).reshape(-1) / vector_norm(d, norm).reshape(-1)
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
    size = rows(base).norm(dim=1).reshape(flat).clamp(min=1e-3)
    unit = unit_vectors(rows(along), (1,)).reshape(base.shape)
    noise = torch.randn(base.shape, dtype=torch.float64, generator=generator).to(base.device)
    noise = unit_vectors(rows(noise), (1,)).reshape(base.shape)
    lengths = torch.randn(count, 2, dtype=torch.float64, generator=generator).exp() * 0.3
    signs = torch.randint(0, 2, (count, 2), generator=generator) * 2 - 1
    reach = (lengths * signs).to(base.device)
    step = reach[:, :1].reshape(flat) * unit + reach[:, 1:].reshape(flat) * noise
    return base + size * step, along
