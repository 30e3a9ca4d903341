"""The book of an attack: the smallest perturbation of each sample that counts, and what counts."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lipcert.certification.balls import Ball
from lipcert.certification.certificates import Judge
from lipcert.certification.margins import Margins, Samples
from lipcert.rounding import UNIT_ROUNDOFF, mul_up

BISECTIONS = 16
OVERSHOOTS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, math.inf)
"""How far beyond the boundary points are tried, until rounding does not matter."""


class Book:
    """Sizes and points of the samples of one shard.

    A point counts if ONNX Runtime's class is not the label and real arithmetic provably
    misclassifies it; where radii hold for any float32 evaluation, ONNX Runtime's is one and
    counts alone.  Its size is measured in float64 from the sample as given, upward.
    """

    def __init__(
        self,
        judge: Judge,
        ball: Ball,
        margins: Margins,
        x: np.ndarray,
        labels: np.ndarray,
        radii: np.ndarray,
    ) -> None:
        self._judge, self._ball, self._margins = judge, ball, margins
        self._shape = x.shape[1:]
        self.labels, self.radii = labels, radii
        self.centre = x.reshape(len(x), -1).astype(np.float64)
        self.sizes = np.full(len(x), math.inf)
        self.points = x.reshape(len(x), -1).astype(np.float32)
        self.rounded = np.zeros(len(x), dtype=bool)

    def settle(self, rows: np.ndarray, samples: Samples, delta: Tensor) -> None:
        """Bisect between samples and perturbed ones, and enter the first points that count."""
        if not len(rows):
            return
        low, high = torch.zeros_like(delta[:, 0]), torch.ones_like(delta[:, 0])
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            points = samples.centre + middle[:, None] * delta
            crossed = self._margins.excess(points, samples.labels) > 0.0
            high = torch.where(crossed, middle, high)
            low = torch.where(crossed, low, middle)
        waiting = torch.arange(len(rows), device=delta.device)
        for overshoot in OVERSHOOTS:
            share = (high[waiting] * (1.0 + overshoot)).clamp(max=1.0)
            points = samples.centre[waiting] + share[:, None] * delta[waiting]
            counted = self.enter(rows[waiting.cpu().numpy()], points, samples)
            waiting = waiting[torch.from_numpy(~counted).to(waiting.device)]
            if not len(waiting):
                return

    def enter(self, rows: np.ndarray, points: Tensor, samples: Samples) -> np.ndarray:
        """Try points ``(len(rows), elements)`` as float32; whether each one counts.

        ``samples`` says in which range points are.
        """
        narrow = points.cpu().numpy().astype(np.float32).clip(samples.low, samples.high)
        counted = np.zeros(len(rows), dtype=bool)
        for start in range(0, len(rows), self._margins.chunk):
            part = slice(start, start + self._margins.chunk)
            counted[part] = self._enter(rows[part], narrow[part])
        return counted

    def _enter(self, rows: np.ndarray, points: np.ndarray) -> np.ndarray:
        labels = self.labels[rows]
        delta = points.astype(np.float64) - self.centre[rows]
        sizes = self._ball.size_up(delta, UNIT_ROUNDOFF)
        shaped = points.reshape(len(points), *self._shape)
        judge = self._judge
        changed = judge.decide(judge.runtime.run(judge.prepare(shaped))) != labels
        counted = np.zeros(len(rows), dtype=bool)
        if judge.float32 is not None:
            counted = changed
        elif changed.any():
            counted[changed] = wrong(judge, shaped[changed], labels[changed])
        self.rounded[rows] |= changed & ~counted & (sizes < self.radii[rows])
        smaller = counted & (sizes < self.sizes[rows])
        self.sizes[rows[smaller]] = sizes[smaller]
        self.points[rows[smaller]] = points[smaller]
        return counted


def wrong(judge: Judge, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where real arithmetic provably misclassifies points ``(N, *sample_shape)``."""
    batch = torch.from_numpy(points.astype(np.float64)).to(judge.graph.device)
    evaluation = judge.evaluator.run(batch, (judge.logits,))
    values = evaluation.values[judge.logits].cpu().numpy()
    error = evaluation.errors[judge.logits]
    if values.shape[1] == 1:
        # not beyond the threshold by more than the error; the label's side is the wrong one
        lead = np.where(labels == 1, -values[:, 0], values[:, 0])
        return np.asarray(lead > error)
    own = values[np.arange(len(values)), labels]
    # |δ_j − δ_y| ≤ √2‖δ‖ for an l2 error δ of the logits, and the difference itself rounds
    slack = mul_up(error, math.sqrt(2.0) * (1.0 + 1e-15))
    size = np.abs(values).max(1)
    others = np.where(np.arange(values.shape[1])[None, :] == labels[:, None], -np.inf, values)
    return np.asarray(others.max(1) - own > slack + size * 9e-16)


def float32_range(input_range: tuple[float, float] | None) -> tuple[float, float]:
    """The float32 numbers nearest to the ends of the range, inside it."""
    if input_range is None:
        return -math.inf, math.inf
    low, high = (np.float32(end) for end in input_range)
    if float(low) < input_range[0]:
        low = np.nextafter(low, np.float32(np.inf))
    if float(high) > input_range[1]:
        high = np.nextafter(high, np.float32(-np.inf))
    return float(low), float(high)
