"""The truth that sensitivities are held against: gradient norms of single examples.

Examples do not meet inside a model, so that one backward pass of the sum of their losses gives
the gradient of each at every node's output; from it and the node's input follow the gradients of
its parameters, or only their norms where a formula has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipcert.errors import InputError
from lipcert.graph import Graph
from lipcert.sensitivities.cotangents import (
    coefficient_gradient,
    elements_formed,
    squared_gradient,
)
from lipcert.sensitivities.tracing import parameter_uses
from lipcert.sensitivities.uses import Use

PerExampleLoss = Callable[[Tensor, Tensor], Tensor]
"""Outputs ``(N, K)`` and labels ``(N,)`` to losses ``(N,)``, differentiable."""

PROCESSOR_BYTES, DEVICE_BYTES = 1 << 28, 1 << 33
"""Memory that one chunk of examples may take, on a processor and on a GPU."""


@dataclass(frozen=True, eq=False)
class GradientNorms:
    """Gradient norms of single examples, l2, each array ``(N,)``.

    Parameters
    ----------
    parameters : by initialiser name; all uses of a tied one are summed before the norm.
    layers : by node name, joint over what the node uses; of a tied parameter only this node's
        part of the gradient counts.
    total : over all parameters jointly.
    """

    parameters: dict[str, np.ndarray]
    layers: dict[str, np.ndarray]
    total: np.ndarray


@dataclass(frozen=True, eq=False)
class SquaredNorms:
    """The squares of :class:`GradientNorms` as tensors, which can be differentiated."""

    parameters: dict[str, Tensor]
    layers: dict[str, Tensor]
    total: Tensor


def gradient_norms(
    graph: Graph,
    loss: PerExampleLoss,
    x: Tensor,
    labels: Tensor,
    *,
    chunk: int | None = None,
    uses: tuple[Use, ...] | None = None,
) -> GradientNorms:
    """Norms of each example's loss gradient by every parameter, computed in float64.

    Parameters
    ----------
    graph : its device is where this is computed.
    loss : of a batch of outputs ``(N, outputs)``, example by example.
    x : ``(N, *sample_shape)``.
    labels : ``(N, …)``, handed to the loss.
    chunk : examples at a time; None for what fits into memory.
    uses : from :func:`parameter_uses`, for a graph in memory or to save the reading of its file.

    Raises
    ------
    InputError : a loss that does not give one number per example; see :func:`parameter_uses`.
    UnsupportedError : a parameter whose gradient is not known; see :func:`parameter_uses`.
    """
    if uses is None:
        uses = parameter_uses(graph)
    if len(x) == 0 or len(x) != len(labels):
        raise InputError(graph.name, f"got {len(x)} samples and {len(labels)} labels", "pair them")
    size = chunk if chunk is not None else chunk_size(graph, uses)
    parts = []
    for some, theirs in zip(torch.split(x, size), torch.split(labels, size), strict=True):
        some = some.detach().to(graph.device, torch.float64)
        parts.append(squared_norms(graph, uses, loss, some, theirs.to(graph.device)))
    return GradientNorms(
        {name: _roots([p.parameters[name] for p in parts]) for name in parts[0].parameters},
        {name: _roots([p.layers[name] for p in parts]) for name in parts[0].layers},
        _roots([p.total for p in parts]),
    )


def _roots(squares: list[Tensor]) -> np.ndarray:
    return torch.cat(squares).detach().sqrt().cpu().numpy()


def squared_norms(
    graph: Graph,
    uses: tuple[Use, ...],
    loss: PerExampleLoss,
    x: Tensor,
    labels: Tensor,
    *,
    create_graph: bool = False,
) -> SquaredNorms:
    """Squared gradient norms of a float64 batch on the graph's device.

    With ``create_graph`` they can be differentiated by x where it requires a gradient.
    """
    with torch.enable_grad():
        ends, outputs = forward(graph, {use.node for use in uses}, x)
        losses = loss(outputs, labels)
        if losses.shape != (len(x),):
            finding = f"gives the shape {tuple(losses.shape)} for {len(x)} examples"
            raise InputError("loss", finding, "give one number per example")
        gradients = dict.fromkeys(ends, torch.zeros(()))
        if ends:
            gradients = dict(zip(ends, cotangents(losses, ends, create_graph), strict=True))
    nodes = {node: (ends[node][0], gradients[node]) for node in ends}
    with torch.set_grad_enabled(create_graph):
        return _squares(graph, uses, nodes, x.new_zeros(len(x)))


def forward(
    graph: Graph, wanted: Collection[int], x: Tensor
) -> tuple[dict[int, tuple[Tensor, Tensor]], Tensor]:
    """First input and output of the nodes at ``wanted`` positions, and the outputs ``(N, K)``.

    The wanted nodes' outputs can be differentiated by.
    """
    values = {graph.input: x.reshape(len(x), *graph.input_shape)}
    ends: dict[int, tuple[Tensor, Tensor]] = {}
    for position, node in enumerate(graph.nodes):
        output = node.operation.evaluate(*(values[name] for name in node.inputs))
        if position in wanted:
            if not output.requires_grad:
                output = output.detach().requires_grad_()
            ends[position] = (values[node.inputs[0]], output)
        values[node.output] = output
        for name in graph.last_uses[position]:
            del values[name]
    return ends, values[graph.output].reshape(len(x), -1)


def cotangents(
    losses: Tensor, ends: dict[int, tuple[Tensor, Tensor]], create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradients of the losses ``(N,)`` at the outputs that :func:`forward` gives."""
    outputs = [output for _, output in ends.values()]
    if not losses.requires_grad:
        return tuple(torch.zeros_like(output) for output in outputs)
    return torch.autograd.grad(
        losses.sum(), outputs, create_graph=create_graph, materialize_grads=True
    )


def _squares(
    graph: Graph, uses: tuple[Use, ...], nodes: dict[int, tuple[Tensor, Tensor]], zero: Tensor
) -> SquaredNorms:
    by_name: dict[str, list[Use]] = {}
    for use in uses:
        by_name.setdefault(use.initialiser, []).append(use)
    parameters: dict[str, Tensor] = {}
    layers: dict[str, Tensor] = {}
    for name, own in by_name.items():
        if has_formula(own):
            use = own[0]
            node, rate = graph.nodes[use.node], use.rate or 0.0
            square = squared_gradient(node.operation, use.role, *nodes[use.node]) * rate**2
            parts = {node.name: square}
        else:
            gradients = _by_layer(graph, own, nodes)
            square = sum(gradients.values(), start=zero[:, None]).square().sum(1)
            parts = {layer: part.square().sum(1) for layer, part in gradients.items()}
        parameters[name] = square
        for layer, part in parts.items():
            layers[layer] = layers.get(layer, zero) + part
    return SquaredNorms(parameters, layers, sum(parameters.values(), start=zero))


def has_formula(uses: list[Use]) -> bool:
    """Whether a norm is computed without the gradient it is the norm of."""
    return len(uses) == 1 and uses[0].rate is not None


def _by_layer(
    graph: Graph, uses: list[Use], nodes: dict[int, tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """The gradient ``(N, size)`` of an initialiser, in parts by the nodes that use it."""
    gradients: dict[str, Tensor] = {}
    for use in uses:
        node = graph.nodes[use.node]
        moved = coefficient_gradient(node.operation, use.role, *nodes[use.node])
        factor, index = (t.to(moved.device) for t in (use.factor, use.index))
        part = moved.new_zeros(len(moved), use.size).index_add(1, index, moved * factor)
        known = gradients.get(node.name)
        gradients[node.name] = part if known is None else known + part
    return gradients


def chunk_size(graph: Graph, uses: tuple[Use, ...]) -> int:
    """How many examples fit into the memory that a chunk may take."""
    room = PROCESSOR_BYTES if graph.device.type == "cpu" else DEVICE_BYTES
    signals = sum(math.prod(node.shape) for node in graph.nodes)
    formed = [elements_formed(graph.nodes[use.node].operation, use.role) for use in uses]
    tied = [
        4 * use.size + 2 * len(use.index) for use in uses if use.rate is None or _is_tied(use, uses)
    ]
    elements = 4 * signals + max(formed, default=0) + sum(tied) + 1
    return max(1, room // (8 * elements))


def _is_tied(use: Use, uses: tuple[Use, ...]) -> bool:
    return sum(other.initialiser == use.initialiser for other in uses) > 1
