"""Two searches for adversarial perturbations: inside a given ball, and of the smallest size.

Inside a ball: projected gradient ascent with momentum whose step is halved where it stalls
(APGD, Croce & Hein 2020, Algorithm 1).  Smallest: a ball that shrinks where the class has
changed and grows where it has not (FMN, Pintor et al. 2021), with steps relative to it.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from lipcert.certification.balls import Ball
from lipcert.certification.margins import ANY_RIVAL, Climb, Margins, Samples

ENOUGH = 4e-6
"""A lead above this multiple of the largest logit is more than float32 rounding."""
MOMENTUM = 0.75
CHANGE, FINEST = 0.3, 2e-4
"""Relative change of a ball at the first and at the last step of the search for the smallest."""
STALLED = 0.75
"""Share of steps that must rise for the step's size to stay."""


def ascend(
    margins: Margins,
    samples: Samples,
    ball: Ball,
    start: Tensor,
    radius: Tensor,
    rivals: Tensor,
    *,
    steps: int,
    key: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """Perturbations ``(N, elements)`` of the largest lead within ``radius``, and their excess.

    A sample stops where another class is clearly ahead.
    """
    run = _Ascent(margins, samples, ball, radius, rivals, key)
    run.begin(start)
    for step, rest in enumerate(_checkpoints(steps)):
        if not len(run.live):
            break
        run.advance(step)
        if rest:
            run.adapt(rest)
    return run.best, run.best_excess


def _checkpoints(steps: int) -> list[int]:
    """For each step 0, or the length of the period that ends with it (Croce & Hein, Sec. 3.1)."""
    ends, share, period = [0], 0.0, 0.22
    while share < 1.0:
        share += period
        period = max(period - 0.03, 0.06)
        ends.append(math.ceil(share * steps))
    lengths = [0] * max(0, steps)
    for before, end in itertools.pairwise(ends):
        if before < end <= steps:
            lengths[end - 1] = end - before
    return lengths


class _Ascent:
    """The state of a run; rows of ``live`` are still climbing."""

    def __init__(
        self,
        margins: Margins,
        samples: Samples,
        ball: Ball,
        radius: Tensor,
        rivals: Tensor,
        key: tuple[int, ...],
    ) -> None:
        self.margins, self.samples, self.ball = margins, samples, ball
        self.radius, self.rivals, self.key = radius, rivals, key
        self.step = 2.0 * radius
        self.live = torch.arange(len(samples), device=samples.centre.device)

    def begin(self, start: Tensor) -> None:
        self.here = self._inside(start, self.live)
        self.before = self.here
        climb = self._climb()
        self.best, self.best_excess = self.here.clone(), climb.excess.clone()
        self.top, self.top_lead = self.here.clone(), climb.lead.clone()
        self.lead, self.gradient = climb.lead.clone(), climb.gradient.clone()
        self.top_gradient = self.gradient.clone()
        self.rises = torch.zeros_like(self.lead)
        self.checked_lead = self.lead.clone()
        self.halved = torch.ones_like(self.lead, dtype=torch.bool)
        self._stop(climb)

    def advance(self, step: int) -> None:
        """One step with momentum, and the book-keeping of the best points."""
        rows, here = self.live, self.here[self.live]
        towards = _direction(self.samples, self.ball, self.gradient[rows], rows, (*self.key, step))
        ahead = self._inside(here + self.step[rows][:, None] * towards, rows)
        share = 1.0 if step == 0 else MOMENTUM
        moved = here + share * (ahead - here) + (1.0 - share) * (here - self.before[rows])
        self.before = self.here.clone()
        self.here[rows] = self._inside(moved, rows)
        climb = self._climb()
        self.rises[rows] += (climb.lead > self.lead[rows]).to(self.rises)
        self.lead[rows], self.gradient[rows] = climb.lead, climb.gradient
        higher = rows[climb.lead > self.top_lead[rows]]
        self.top[higher], self.top_lead[higher] = self.here[higher], self.lead[higher]
        self.top_gradient[higher] = self.gradient[higher]
        better = climb.excess > self.best_excess[rows]
        self.best[rows[better]] = self.here[rows[better]]
        self.best_excess[rows[better]] = climb.excess[better]
        self._stop(climb)

    def adapt(self, period: int) -> None:
        """Halve the step of samples that stalled, and set them back to their best point."""
        few = self.rises < STALLED * period
        stuck = ~self.halved & (self.top_lead <= self.checked_lead)
        halve = few | stuck
        self.step = torch.where(halve, 0.5 * self.step, self.step)
        self.here = torch.where(halve[:, None], self.top, self.here)
        self.before = torch.where(halve[:, None], self.top, self.before)
        self.lead = torch.where(halve, self.top_lead, self.lead)
        self.gradient = torch.where(halve[:, None], self.top_gradient, self.gradient)
        self.halved, self.checked_lead = halve, self.top_lead.clone()
        self.rises.zero_()

    def _climb(self) -> Climb:
        rows = self.live
        points = self.samples.centre[rows] + self.here[rows]
        return self.margins.climb(points, self.samples.labels[rows], self.rivals[rows])

    def _inside(self, delta: Tensor, rows: Tensor) -> Tensor:
        return self.samples.at(rows).kept(self.ball.projected(delta, self.radius[rows]))

    def _stop(self, climb: Climb) -> None:
        self.live = self.live[~(climb.excess > ENOUGH * climb.scale)]


def approach(
    margins: Margins,
    samples: Samples,
    ball: Ball,
    start: Tensor,
    rivals: Tensor,
    *,
    steps: int,
    limit: float,
    stride: float,
    key: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """Perturbations ``(N, elements)`` of the smallest size found, and that size or infinity.

    ``limit`` is the largest size tried, ``stride`` the length of the first steps, relative to
    the ball; steps and changes of the ball fall off like a cosine.
    """
    rows = torch.arange(len(samples), device=samples.centre.device)
    delta = samples.kept(start)
    best = torch.full((len(samples),), math.inf, dtype=torch.float64, device=delta.device)
    found, radius = delta.clone(), best
    for step in range(steps):
        fall = 0.5 * (1.0 + math.cos(math.pi * step / steps))
        change, length = FINEST + CHANGE * fall, FINEST + stride * fall
        climb = margins.climb(samples.centre + delta, samples.labels, rivals)
        size = ball.size(delta)
        crossed = climb.excess > 0.0
        better = crossed & (size < best)
        found[better], best = delta[better], torch.where(better, size, best)
        flat = (size - climb.lead / ball.slope(climb.gradient)).clamp(min=0.0) * (1.0 + change)
        flat = torch.where(torch.isfinite(flat), flat, limit)
        back = torch.minimum(radius, best) * (1.0 - change)
        on = torch.where(torch.isinf(best), flat, torch.minimum(radius * (1.0 + change), best))
        radius = torch.where(crossed, back, on).clamp(max=limit)
        towards = _direction(samples, ball, climb.gradient, rows, (*key, step))
        delta = delta + (length * radius)[:, None] * towards
        delta = samples.kept(ball.projected(delta, radius))
    return found, best


def everyone(samples: Samples, rival: int = ANY_RIVAL) -> Tensor:
    """One rival for all."""
    return torch.full((len(samples),), rival, device=samples.centre.device)


def _direction(
    samples: Samples, ball: Ball, gradient: Tensor, rows: Tensor, key: tuple[int, ...]
) -> Tensor:
    """The steepest perturbation of size 1; a random one where nothing rises (dead units)."""
    flat = gradient.abs().amax(1) == 0.0
    if bool(flat.any()):
        gradient = gradient.clone()
        gradient[flat] = samples.at(rows[flat]).noise(*key)
    return ball.steepest(gradient)
