"""The signal form: a model as nonlinearities joined by linear operators.

    z_0 = x,   v_k = Σ_{j<k} A_kj z_j + b_k,   z_k = φ_k(v_k),   y = Σ_j C_j z_j + d

Every linear stretch of the layer graph becomes one operator per pair of signals, so any DAG
(residual, concatenated, shared) has the same shape.  Biases do not enter a global bound and are
left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lipcert.graph import Affine, Graph, Node
from lipcert.nonlinear import Nonlinearity
from lipcert.operators import (
    Indexing,
    LinearOperator,
    Norms,
    Shape,
    add,
    compose,
    identity,
    simplified_together,
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
    """Stages in order; signal 0 is the input, signal k the output of ``stages[k-1]``.

    ``source`` is the graph that :func:`fold` made it from; a form made from another has none.
    """

    input_shape: Shape
    stages: tuple[Stage, ...]
    output_terms: Terms
    output_shape: Shape
    source: Graph | None = field(default=None, init=False, repr=False)

    def size(self, signal: int) -> int:
        """Number of elements of a signal."""
        return math.prod(self.input_shape if signal == 0 else self.stages[signal - 1].shape)

    def evaluate(self, x: Tensor) -> Tensor:
        """The map of a batch ``(N, *input_shape)``, with no biases, to ``(N, *output_shape)``."""
        signals = [x]
        for stage in self.stages:
            v = _applied(stage.terms, signals).flatten(1)
            parts = torch.split(v, [math.prod(shape) for shape in stage.input_shapes], dim=1)
            pairs = zip(parts, stage.input_shapes, strict=True)
            operands = [part.reshape(len(x), *shape) for part, shape in pairs]
            signals.append(stage.nonlinearity.evaluate(*operands))
        return _applied(self.output_terms, signals).reshape(len(x), *self.output_shape)


def _applied(terms: Terms, signals: list[Tensor]) -> Tensor:
    first, *others = (operator.apply(signals[j]) for j, operator in terms.items())
    return functools.reduce(torch.add, others, first)


def fold(graph: Graph) -> SignalForm:
    """The signal form of a graph."""
    values: dict[str, dict[int, LinearOperator]] = {graph.input: {0: identity(graph.input_shape)}}
    stages: list[Stage] = []
    for node in graph.nodes:
        operands = [values[name] for name in node.inputs]
        if isinstance(node.operation, Nonlinearity):
            shapes = tuple(graph.shape_of(name) for name in node.inputs)
            terms = _joined(operands, shapes)
            stages.append(Stage(node, node.operation, shapes, _simplified(terms), node.shape))
            values[node.output] = {len(stages): identity(node.shape)}
        else:
            values[node.output] = _passed(node, operands)
    output = _simplified(values[graph.output])
    form = SignalForm(graph.input_shape, tuple(stages), output, graph.output_shape)
    object.__setattr__(form, "source", graph)
    return form


def starting_at(graph: Graph, form: SignalForm, value: str) -> SignalForm | None:
    """The map from ``value`` to the output with every other signal held fixed.

    Stages share their operators with ``form``, the graph's own: nothing between two stages that
    both depend on a value can run through it.  None where the output does not depend on it.
    """
    first = readers_of(graph, form, value)
    place: dict[int, int] = {}
    stages: list[Stage] = []

    def rest(k: int, terms: Terms) -> Terms:
        entry = {0: first[k]} if k in first else {}
        return entry | {place[j]: A for j, A in terms.items() if j in place}

    for k, stage in enumerate(form.stages, start=1):
        terms = rest(k, stage.terms)
        if terms:
            stages.append(replace(stage, terms=terms))
            place[k] = len(stages)
    output = rest(len(form.stages) + 1, form.output_terms)
    if not output:
        return None
    return SignalForm(graph.shape_of(value), tuple(stages), output, form.output_shape)


def ending_at(graph: Graph, form: SignalForm, values: Iterable[str]) -> dict[str, SignalForm]:
    """The maps from the input to values; stages share their operators with ``form``."""
    seeds: dict[str, dict[int, LinearOperator]] = {graph.input: {0: identity(form.input_shape)}}
    for k, stage in enumerate(form.stages, start=1):
        seeds[stage.node.output] = {k: identity(stage.shape)}
    found, read = {}, _linear(graph, seeds)
    for value in values:
        terms = _simplified(read[value])
        stages = form.stages[: max(terms, default=0)]
        found[value] = SignalForm(form.input_shape, stages, terms, graph.shape_of(value))
    return found


def readers_of(graph: Graph, form: SignalForm, value: str) -> Terms:
    """The linear maps through which stages read a value: by stage, the output as one beyond."""
    last = len(form.stages) + 1
    for j, name in enumerate((graph.input, *(stage.node.output for stage in form.stages))):
        if name == value:
            tables = enumerate((*(stage.terms for stage in form.stages), form.output_terms), 1)
            return {k: terms[j] for k, terms in tables if j in terms}
    values = _linear(graph, {value: {0: identity(graph.shape_of(value))}})
    found: dict[int, dict[int, LinearOperator]] = {last: values.get(graph.output, {})}
    for k, stage in enumerate(form.stages, start=1):
        operands = [values.get(name, {}) for name in stage.node.inputs]
        found[k] = _joined(operands, stage.input_shapes)
    return {k: simplify(terms[0]) for k, terms in sorted(found.items()) if terms}


def _linear(
    graph: Graph, seeds: Mapping[str, dict[int, LinearOperator]]
) -> dict[str, dict[int, LinearOperator]]:
    """Every value as far as it is linear in the seeds, anything else held fixed."""
    values = dict(seeds)
    for node in graph.nodes:
        if node.output not in seeds and not isinstance(node.operation, Nonlinearity):
            operands = [values.get(name, {}) for name in node.inputs]
            values[node.output] = _passed(node, operands)
    return values


def _passed(node: Node, operands: list[dict[int, LinearOperator]]) -> dict[int, LinearOperator]:
    """The terms of a linear node's output."""
    if isinstance(node.operation, Affine):
        operator = node.operation.operator
        return {j: compose(operator, term) for j, term in operands[0].items()}
    return _sum(operands)


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
    signals = sorted(terms)
    found = simplified_together(terms[signal] for signal in signals)
    return dict(zip(signals, found, strict=True))
