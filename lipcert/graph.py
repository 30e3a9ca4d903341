"""The layer graph: what a model file says, as operations on tensors of known shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipcert.nonlinear import Nonlinearity
from lipcert.operators import LinearOperator, Shape


@dataclass(frozen=True, eq=False)
class Affine:
    """``x ↦ A x + b``; ``bias_error`` bounds the l2 distance of the stored b to the true one."""

    operator: LinearOperator
    bias: Tensor | None = None
    bias_error: float = 0.0

    def evaluate(self, *inputs: Tensor) -> Tensor:
        """Map a batch ``(N, *in_shape)``."""
        y = self.operator.apply(inputs[0])
        return y if self.bias is None else y + self.bias

    def to(self, device: torch.device) -> Affine:
        """The same map with its coefficients on ``device``."""
        bias = None if self.bias is None else self.bias.to(device)
        return replace(self, operator=self.operator.to(device), bias=bias)


@dataclass(frozen=True, eq=False)
class Total:
    """Sum of several tensors of one shape."""

    def evaluate(self, *inputs: Tensor) -> Tensor:
        """Add batches ``(N, *shape)``."""
        total = inputs[0]
        for other in inputs[1:]:
            total = total + other
        return total

    def to(self, device: torch.device) -> Total:
        """Itself: there is nothing to move."""
        return self


Operation = Affine | Total | Nonlinearity

Rearrangement = Callable[[NDArray[np.generic]], NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Origin:
    """The initialiser that an operation's coefficients depend on, element by element.

    Coefficient i depends on element ``index[i]`` of the initialiser alone (of several origins, on
    one element of each), with a derivative of at most ``slope[i]`` in magnitude.

    Parameters
    ----------
    name, shape : of the initialiser.
    slope : a number for all coefficients, or one for each, rounded upward.
    moves : what brought the initialiser's elements to the coefficients' places, in order.
    """

    name: str
    shape: Shape
    slope: NDArray[np.float64] = field(default_factory=lambda: np.ones(()))
    moves: tuple[Rearrangement, ...] = ()

    @property
    def index(self) -> NDArray[np.int64]:
        """Flat position in the initialiser of each coefficient."""
        found: NDArray[np.generic] = np.arange(math.prod(self.shape)).reshape(self.shape)
        for move in self.moves:
            found = move(found)
        return np.asarray(found, dtype=np.int64)

    def moved(self, rearrange: Rearrangement) -> Origin:
        """The origin of coefficients in other places."""
        slope = self.slope
        if slope.ndim:
            slope = np.asarray(rearrange(slope), dtype=np.float64)
        return replace(self, slope=slope, moves=(*self.moves, rearrange))

    def times(self, factor: NDArray[np.float64], shape: Shape) -> Origin:
        """The origin of coefficients of ``shape`` that were multiplied by at most ``factor``."""
        spread = self.moved(lambda array: np.broadcast_to(array, shape))
        slope = self.slope * np.abs(factor) * (1.0 + 4e-16) + 5e-324
        return replace(spread, slope=np.broadcast_to(slope, shape) if slope.ndim else slope)


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of the graph.

    Parameters
    ----------
    name : the ONNX node's name, or its type and position where it has none.
    onnx_type : the ONNX operator it comes from.
    operation : what it computes.
    inputs, output : names of values.
    shape : shape of the output, ONNX's leading axis included.
    parameters : names of the initialisers that went into its coefficients.
    origins, shifts : where its coefficients and its bias come from, as far as that is known.
    """

    name: str
    onnx_type: str
    operation: Operation
    inputs: tuple[str, ...]
    output: str
    shape: Shape
    parameters: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    shifts: tuple[Origin, ...] = ()

    @property
    def is_linear(self) -> bool:
        """Whether the operation is affine in its inputs."""
        return not isinstance(self.operation, Nonlinearity)


@dataclass(frozen=True, eq=False)
class Graph:
    """A model for one sample: nodes in topological order from one input to one output.

    Parameters
    ----------
    name : what to call the model in messages.
    nodes : each reads values defined before it.
    input, output : names of the model's input and output values.
    input_shape : ONNX's shape with a batch of one; ``batched`` says whether axis 0 is the batch.
    opset : version of the default ONNX operator set.
    sha256 : digest of the model file (and of its external data, in order), empty if in memory.
    source : path of the model file, empty if in memory.
    initialisers : shapes of the file's initialisers of real numbers, by name.
    file_output : the output's name in the file, where an equal value stands for it here.
    reads : which of the file's nodes reads which initialiser as a number that could be trained.
    """

    name: str
    nodes: tuple[Node, ...]
    input: str
    output: str
    input_shape: Shape
    batched: bool
    opset: int
    sha256: str = ""
    source: str = ""
    initialisers: Mapping[str, Shape] = field(default_factory=dict)
    file_output: str = ""
    reads: tuple[tuple[str, str], ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def sample_shape(self) -> Shape:
        """Shape of one sample, without the batch axis."""
        return self.input_shape[1:] if self.batched else self.input_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the output for one sample, ONNX's leading axis included."""
        return self.shape_of(self.output)

    @property
    def outputs(self) -> int:
        """Number of output elements."""
        return math.prod(self.output_shape)

    def shape_of(self, value: str) -> Shape:
        """Shape of a value."""
        return self._shapes[value]

    @cached_property
    def _shapes(self) -> Mapping[str, Shape]:
        return {self.input: self.input_shape} | {n.output: n.shape for n in self.nodes}

    def evaluate(self, x: Tensor) -> Tensor:
        """Outputs ``(N, outputs)`` of a float64 batch ``(N, *sample_shape)``."""
        values = {self.input: x.reshape(x.shape[0], *self.input_shape)}
        for node, spent in zip(self.nodes, self.last_uses, strict=True):
            values[node.output] = node.operation.evaluate(*(values[name] for name in node.inputs))
            for name in spent:
                del values[name]
        return values[self.output].reshape(x.shape[0], -1)

    @cached_property
    def last_uses(self) -> tuple[tuple[str, ...], ...]:
        """For each node the values that no later node reads: what an evaluation may forget."""
        last = {name: i for i, node in enumerate(self.nodes) for name in node.inputs}
        last.pop(self.output, None)
        spent: list[list[str]] = [[] for _ in self.nodes]
        for name, position in last.items():
            spent[position].append(name)
        return tuple(tuple(names) for names in spent)

    def to(self, device: torch.device) -> Graph:
        """The same graph with its coefficients on ``device``."""
        if device == self.device:
            return self
        nodes = tuple(replace(node, operation=node.operation.to(device)) for node in self.nodes)
        return replace(self, nodes=nodes, device=device)

    def preceded_by(self, operation: Affine, name: str) -> Graph:
        """This graph behind an affine map of its input, such as a normalisation."""
        inner = f"{self.input}/{name}"
        while inner in self._shapes:
            inner += "_"
        first = Node(name, name, operation, (self.input,), inner, self.input_shape)
        rest = tuple(
            replace(node, inputs=tuple(inner if v == self.input else v for v in node.inputs))
            for node in self.nodes
        )
        output = inner if self.output == self.input else self.output
        return replace(self, nodes=(first, *rest), output=output)

    def ending_at(self, value: str) -> Graph:
        """The part of this graph that computes ``value``."""
        needed = {value}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.output in needed:
                needed.update(node.inputs)
                kept.append(node)
        return replace(self, nodes=tuple(reversed(kept)), output=value)
