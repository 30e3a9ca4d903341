"""Slopes of a model at points: norms of its Jacobians, each from below, by power steps.

The norm of a Jacobian at a point where the model is differentiable is at most the Lipschitz
constant.  It comes from a p-norm power method (Higham 1992; l2: power iteration).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.graph import Graph
from lipcert.spectral.tensors import unit_vectors, vector_norms

MULTIPLES = (1.0, 3.0, 5.0, 7.0)
"""Of a direction, whose images tell how much of them is rounding: no two differ by a power of 2."""
FEWEST_MULTIPLES = 2
APART = 8.0
"""Times what these images differ by is taken off."""
ORDERS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


@dataclass(frozen=True)
class Clock:
    """Seconds that a search has, from ``started`` on; ``now`` tells the time.

    What is under way on the device is waited for before the time is told.
    """

    started: float
    seconds: float
    now: Callable[[], float]
    device: torch.device

    def over(self, share: float = 1.0) -> bool:
        """Whether a share of the time is used up."""
        return self._time() - self.started > share * self.seconds

    def timed(self, run: Callable[[], object]) -> float:
        """How long something takes."""
        before = self._time()
        run()
        return self._time() - before

    def _time(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.now()


def slopes_at(
    graph: Graph, points: Tensor, directions: Tensor, norm: str, *, steps: int, clock: Clock
) -> tuple[Tensor, Tensor]:
    """Induced norms of the Jacobians at ``points``, each from below, and the input directions.

    The first step is always made, no other one where the time is up.
    """
    pull = None
    v = directions
    best = torch.zeros(len(points), dtype=torch.float64, device=points.device)
    chosen = v
    for step in range(steps):
        v = _unit(v, norm)
        image = torch.func.jvp(graph.evaluate, (points,), (v,))[1]
        size = vector_norm(image, norm).reshape(-1)
        size = torch.where(torch.isfinite(size), size, torch.zeros_like(size))
        better = size > best
        best = torch.where(better, size, best)
        chosen = torch.where(better.reshape(-1, *(1,) * (v.dim() - 1)), v, chosen)
        if step + 1 == steps or clock.over():
            break
        pull = pull or _pullback(graph, points)
        v = _dual_input(pull(_dual(image, norm)), norm)
        if clock.over():
            break
    return best, chosen


def unrounded(graph: Graph, point: Tensor, direction: Tensor, norm: str, clock: Clock) -> float:
    """The slope at a point ``(1, *sample_shape)`` in a direction, less what may be rounding of it.

    A derivative is linear, so what it makes of multiples of a direction differs by rounding alone;
    that is far above the number's own where large parts cancel, as in ``(x + g(x)) − x``.  Two
    multiples are always tried, the others while there is time.
    """
    unit, images, sizes = _unit(direction, norm), list[Tensor](), list[float]()
    for factor in MULTIPLES:
        if len(images) >= FEWEST_MULTIPLES and clock.over():
            break
        v = factor * unit
        image = torch.func.jvp(graph.evaluate, (point,), (v,))[1]
        images.append(image / factor)
        sizes.append(float(vector_norm(image, norm)) / float(vector_norm(v, norm).clamp(min=0.5)))
    off = max(float(vector_norm(image - images[0], norm)) for image in images)
    found = min(sizes) - APART * off
    return max(0.0, found) if math.isfinite(found) else 0.0


def _pullback(graph: Graph, points: Tensor) -> Callable[[Tensor], Tensor]:
    """From cotangents of the outputs to gradients at ``points``.

    ``torch.func.vjp`` does the same, after a second or two for importing a compiler.
    """
    here = points.detach().requires_grad_()
    outputs = graph.evaluate(here)

    def pull(cotangent: Tensor) -> Tensor:
        if not outputs.requires_grad:  # they do not depend on the input
            return torch.zeros_like(points)
        return torch.autograd.grad(outputs, here, cotangent, retain_graph=True)[0]

    return pull


def rows(x: Tensor) -> Tensor:
    """Samples as rows ``(n, elements)``; those of models of single numbers have no axes."""
    return x.flatten(1) if x.dim() > 1 else x[:, None]


def vector_norm(x: Tensor, norm: str) -> Tensor:
    """Norms of the samples of ``x``, of the same number of axes."""
    return vector_norms(rows(x), (1,), ORDERS[norm]).reshape(-1, *(1,) * (x.dim() - 1))


def _unit(x: Tensor, norm: str) -> Tensor:
    """The samples of ``x``, each divided by its norm: no longer than 1, however small it was."""
    return unit_vectors(rows(x), (1,), ORDERS[norm]).reshape(x.shape)


def _dual(image: Tensor, norm: str) -> Tensor:
    """A cotangent whose pairing with ``image`` is its norm, up to scale."""
    if norm == "l2":
        return _unit(image, norm)  # tiny ones would underflow on their way back
    if norm == "l1":
        return image.sign()
    flat = rows(image)
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
    flat = rows(gradient)
    peak = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter_(1, peak, 1.0).reshape(gradient.shape)
