"""Inputs with steep loss gradients, found by ascent: how much of a sensitivity is ever used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.errors import InputError
from lipcert.graph import Graph
from lipcert.sensitivities.inputs import just_inside
from lipcert.sensitivities.tracing import parameter_uses
from lipcert.sensitivities.truth import PerExampleLoss, SquaredNorms, squared_norms
from lipcert.sensitivities.uses import Use
from lipcert.spectral.tensors import unit_vectors

GROW, SHRINK = 1.25, 0.5
"""What a step that raised the norm is multiplied by, and one that did not."""
FIRST_STEP = 0.25
"""The first step as a part of the radius or of the box's width."""


@dataclass(frozen=True, eq=False)
class Steepest:
    """An input with a steep gradient.

    Parameters
    ----------
    point : ``(*sample_shape)``, float64, inside the input set.
    norm : of its gradient.
    start : which of the starts led to it, and so whose label it has.
    """

    point: Tensor
    norm: float
    start: int


def steepest_input(
    graph: Graph,
    loss: PerExampleLoss,
    labels: Tensor,
    *,
    start: Tensor,
    steps: int,
    seed: int,
    radius: float | None = None,
    box: tuple[Tensor | float, Tensor | float] | None = None,
    parameter_or_layer: str | None = None,
    uses: tuple[Use, ...] | None = None,
) -> Steepest:
    """The input with the largest gradient norm that projected ascent finds.

    Parameters
    ----------
    labels : ``(N, …)``, one for each start.
    start : ``(N, *sample_shape)``, projected into the set; the ascent is from all of them.
    steps : gradient steps from each start.
    seed : of the directions tried where the gradient vanishes.
    radius, box : the input set, one of the two: ``‖x‖₂ ≤ radius``, or lowest and highest values,
        which broadcast against ``start``.
    parameter_or_layer : whose gradient is meant, an initialiser or a node; None for all jointly.
    uses : from :func:`parameter_uses`, for a graph in memory or to save the reading of its file.

    Returns
    -------
    The input, inside the set, and its norm: up to rounding a lower bound of the largest in the
    set, never below that of any start.

    Raises
    ------
    InputError : no input set, or a parameter or layer that there is not; see
        :func:`~lipcert.sensitivities.truth.gradient_norms`.
    """
    if uses is None:
        uses = parameter_uses(graph)
    known = {use.initialiser for use in uses} | {graph.nodes[use.node].name for use in uses}
    if parameter_or_layer is not None and parameter_or_layer not in known:
        finding = f"has no parameter or layer {parameter_or_layer!r}"
        raise InputError(graph.name, finding, f"choose of: {', '.join(sorted(known))}")
    if len(start) == 0 or len(start) != len(labels):
        raise InputError("start", f"{len(start)} starts for {len(labels)} labels", "pair them")
    x = start.detach().to(graph.device, torch.float64)
    project, width = _input_set(x, radius, box)
    labels = labels.to(graph.device)
    random = torch.Generator().manual_seed(seed)
    wanted = uses

    def climb(point: Tensor) -> tuple[Tensor, Tensor]:
        """Squared norms ``(N,)`` and the direction of their ascent."""
        point = point.detach().requires_grad_()
        with torch.enable_grad():
            norms = squared_norms(graph, wanted, loss, point, labels, create_graph=True)
            squares = _chosen(norms, parameter_or_layer)
            if squares.requires_grad:
                (slope,) = torch.autograd.grad(squares.sum(), point, materialize_grads=True)
            else:
                slope = torch.zeros_like(point)
        return squares.detach(), _direction(slope, random, signs=box is not None)

    x = project(x)
    best, direction = climb(x)
    step = torch.full_like(best, FIRST_STEP)
    for _ in range(steps):
        trial = project(x + _along(step, x) * width * direction)
        found, onward = climb(trial)
        better = found > best
        x = torch.where(_along(better, x), trial, x)
        direction = torch.where(_along(better, x), onward, direction)
        direction = torch.where(_along(best <= 0.0, x), onward, direction)
        best = torch.where(better, found, best)
        step = (step * torch.where(better, GROW, SHRINK)).clamp(max=1.0)
    top = int(best.argmax())
    return Steepest(x[top].detach().cpu(), float(best[top].sqrt()), top)


def _chosen(norms: SquaredNorms, name: str | None) -> Tensor:
    if name is None:
        return norms.total
    return norms.parameters[name] if name in norms.parameters else norms.layers[name]


def _along(numbers: Tensor, x: Tensor) -> Tensor:
    """One number per example, shaped to broadcast against the batch."""
    return numbers.reshape(-1, *(1,) * (x.dim() - 1))


def _direction(slope: Tensor, random: torch.Generator, *, signs: bool) -> Tensor:
    """The slope's signs or its unit vector; random where it vanishes."""
    flat = slope.reshape(len(slope), -1)
    noise = torch.randn(flat.shape, generator=random, dtype=torch.float64).to(flat.device)
    vanishes = ~(flat.abs().amax(1, keepdim=True) > 0.0)
    flat = torch.where(vanishes, noise, flat)
    flat = flat.sign() if signs else unit_vectors(flat, (1,))
    return flat.reshape(slope.shape)


def _input_set(
    x: Tensor, radius: float | None, box: tuple[Tensor | float, Tensor | float] | None
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The projection into the input set, and its width."""
    if (radius is None) == (box is None):
        raise InputError("input set", "is not given as one of radius and box", "give one of them")
    if box is not None:
        low, high = (torch.as_tensor(side, dtype=torch.float64, device=x.device) for side in box)
        if bool((low > high).any()):
            raise InputError("box", "has a lowest value above its highest", "exchange them")
        return lambda point: torch.minimum(torch.maximum(point, low), high), high - low
    most = float(radius or 0.0)
    if not 0.0 < most < float("inf"):
        raise InputError("radius", f"is {most:g}", "give a positive number")

    inside = most * just_inside(x[0].numel())

    def shrink(point: Tensor) -> Tensor:
        norms = point.reshape(len(point), -1).norm(dim=1)
        factor = torch.where(norms > inside, inside / norms, torch.ones_like(norms))
        return point * _along(factor, point)

    return shrink, torch.tensor(most, dtype=torch.float64, device=x.device)
