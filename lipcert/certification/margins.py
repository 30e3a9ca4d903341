"""What an attack climbs: by how much another class is ahead of the label, and its gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lipcert.graph import Graph

MOST_VALUES = 1 << 20
"""Most float64 numbers that the values of one evaluation take, all of them kept for a gradient."""
ANY_RIVAL = -1


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples under attack, flattened, in the data's units.

    Parameters
    ----------
    centre : ``(N, elements)`` float64.
    labels : ``(N,)``.
    indices : ``(N,)``, absolute, from which all random numbers come.
    low, high : what perturbed samples keep to, infinite for anything.
    """

    centre: Tensor
    labels: Tensor
    indices: np.ndarray
    seed: int
    low: float = -math.inf
    high: float = math.inf

    def __len__(self) -> int:
        return len(self.centre)

    def at(self, rows: Tensor) -> Samples:
        """Some of them, by positions or by a mask."""
        return replace(
            self,
            centre=self.centre[rows],
            labels=self.labels[rows],
            indices=self.indices[rows.cpu().numpy()],
        )

    def kept(self, delta: Tensor) -> Tensor:
        """Perturbations cut so that perturbed samples stay in the range."""
        if math.isinf(self.low) and math.isinf(self.high):
            return delta
        return (self.centre + delta).clamp(self.low, self.high) - self.centre

    def noise(self, *key: int) -> Tensor:
        """Standard normal ``(N, elements)``, a function of seed, absolute index and ``key``."""
        drawn = np.empty(self.centre.shape)
        for row, index in zip(drawn, self.indices, strict=True):
            entropy = (self.seed % (1 << 64), int(index), *key)
            row[:] = np.random.default_rng(entropy).standard_normal(len(row))
        return torch.from_numpy(drawn).to(self.centre.device)


@dataclass(frozen=True, eq=False)
class Climb:
    """At each of N points: how far the climbed class is ahead, any class, and the gradient.

    ``lead`` is of the rival chosen, ``excess`` of the best class other than the label: above 0
    the point is misclassified.  ``scale`` is the largest logit in absolute value.
    """

    lead: Tensor
    excess: Tensor
    scale: Tensor
    gradient: Tensor


class Margins:
    """Leads of other classes in float64, chunked so that activations stay in memory.

    A model with one logit ``z`` is of class 1 where ``z > 0``.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        values = sum(math.prod(node.shape) for node in graph.nodes) + math.prod(graph.input_shape)
        self.chunk = max(1, MOST_VALUES // values)

    def logits(self, points: Tensor) -> Tensor:
        """Logits ``(N, K)`` of points ``(N, elements)``."""
        with torch.no_grad():
            parts = [self._evaluate(part) for part in torch.split(points, self.chunk)]
        return torch.cat(parts)

    def excess(self, points: Tensor, labels: Tensor) -> Tensor:
        """By how much the best other class is ahead ``(N,)``; −inf where that is undefined."""
        return _number(_ahead(self.logits(points), labels, None))

    def climb(self, points: Tensor, labels: Tensor, rivals: Tensor) -> Climb:
        """Leads of ``rivals`` ``(N,)``, classes or ANY_RIVAL, and their gradients."""
        parts = zip(
            torch.split(points, self.chunk),
            torch.split(labels, self.chunk),
            torch.split(rivals, self.chunk),
            strict=True,
        )
        found = [self._climb(*part) for part in parts]
        return Climb(
            torch.cat([part.lead for part in found]),
            torch.cat([part.excess for part in found]),
            torch.cat([part.scale for part in found]),
            torch.cat([part.gradient for part in found]),
        )

    def _climb(self, points: Tensor, labels: Tensor, rivals: Tensor) -> Climb:
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._evaluate(points)
            lead = _ahead(logits, labels, rivals)
            gradient = torch.zeros_like(points)
            if lead.requires_grad:
                (gradient,) = torch.autograd.grad(lead.sum(), points)
        logits = logits.detach()
        return Climb(
            _number(lead.detach()),
            _number(_ahead(logits, labels, None)),
            logits.abs().amax(1),
            torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0),
        )

    def _evaluate(self, points: Tensor) -> Tensor:
        return self.graph.evaluate(points.reshape(len(points), *self.graph.sample_shape))


def _ahead(logits: Tensor, labels: Tensor, rivals: Tensor | None) -> Tensor:
    if logits.shape[1] == 1:
        return torch.where(labels == 1, -logits[:, 0], logits[:, 0])
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    best = others.amax(1)
    if rivals is not None:
        chosen = others.gather(1, rivals.clamp(min=0)[:, None])[:, 0]
        best = torch.where(rivals == ANY_RIVAL, best, chosen)
    return best - own[:, 0]


def _number(lead: Tensor) -> Tensor:
    return torch.nan_to_num(lead, nan=-math.inf, posinf=math.inf, neginf=-math.inf)
