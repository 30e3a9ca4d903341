"""The signal form: a model as nonlinearities joined by linear operators.

    z_0 = x,   v_k = Σ_{j<k} A_kj z_j + b_k,   z_k = φ_k(v_k),   y = Σ_j C_j z_j + d

Every linear stretch of the layer graph becomes one operator per pair of signals, so any DAG
(residual, concatenated, shared) has the same shape.  Biases do not enter a global bound and are
left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lipcert.graph import Affine, Graph, Node, Total
from lipcert.nonlinear import Nonlinearity
from lipcert.operators import (
    Indexing,
    LinearOperator,
    Norms,
    Shape,
    add,
    compose,
    identity,
    simplify,
)

Terms = Mapping[int, LinearOperator]
"""Operators by the index of the signal they read."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One nonlinearity: ``z_k = φ(Σ_j terms[j] z_j + b)``.

    Several inputs of φ are flattened and put behind one another in v.
    """

    node: Node
    nonlinearity: Nonlinearity
    input_shapes: tuple[Shape, ...]
    terms: Terms
    shape: Shape

    @property
    def constants(self) -> Norms:
        """Lipschitz constants of φ."""
        return self.nonlinearity.lipschitz(*self.input_shapes)

    @property
    def input_size(self) -> int:
        """Number of elements of v."""
        return sum(math.prod(shape) for shape in self.input_shapes)


@dataclass(frozen=True, eq=False)
class SignalForm:
    """Stages in order; signal 0 is the input, signal k the output of ``stages[k-1]``."""

    input_shape: Shape
    stages: tuple[Stage, ...]
    output_terms: Terms
    output_shape: Shape

    def size(self, signal: int) -> int:
        """Number of elements of a signal."""
        return math.prod(self.input_shape if signal == 0 else self.stages[signal - 1].shape)


def fold(graph: Graph) -> SignalForm:
    """The signal form of a graph."""
    values: dict[str, dict[int, LinearOperator]] = {graph.input: {0: identity(graph.input_shape)}}
    stages: list[Stage] = []
    for node in graph.nodes:
        operands = [values[name] for name in node.inputs]
        if isinstance(node.operation, Affine):
            operator = node.operation.operator
            values[node.output] = {j: compose(operator, term) for j, term in operands[0].items()}
        elif isinstance(node.operation, Total):
            values[node.output] = _sum(operands)
        else:
            shapes = tuple(graph.shape_of(name) for name in node.inputs)
            terms = _joined(operands, shapes)
            stages.append(Stage(node, node.operation, shapes, _simplified(terms), node.shape))
            values[node.output] = {len(stages): identity(node.shape)}
    output = _simplified(values[graph.output])
    return SignalForm(graph.input_shape, tuple(stages), output, graph.output_shape)


def _sum(operands: list[dict[int, LinearOperator]]) -> dict[int, LinearOperator]:
    total: dict[int, LinearOperator] = {}
    for operand in operands:
        for signal, term in operand.items():
            total[signal] = add(total[signal], term) if signal in total else term
    return total


def _joined(
    operands: list[dict[int, LinearOperator]], shapes: tuple[Shape, ...]
) -> dict[int, LinearOperator]:
    """The terms of several tensors flattened and put behind one another."""
    if len(operands) == 1:
        return operands[0]
    sizes = [math.prod(shape) for shape in shapes]
    placed, start = [], 0
    for operand, shape, size in zip(operands, shapes, sizes, strict=True):
        index = torch.full((sum(sizes),), -1, dtype=torch.int64)
        index[start : start + size] = torch.arange(size)
        start += size
        embedding = Indexing(index, shape)
        placed.append({signal: compose(embedding, term) for signal, term in operand.items()})
    return _sum(placed)


def _simplified(terms: Terms) -> Terms:
    return {signal: simplify(term) for signal, term in sorted(terms.items())}
