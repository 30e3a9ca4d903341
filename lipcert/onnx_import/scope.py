"""What an importer function sees while it turns one ONNX node into operations."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto

from lipcert.errors import LipcertError, UnsupportedError
from lipcert.graph import Affine, Node, Operation, Total
from lipcert.nonlinear import Nonlinearity
from lipcert.onnx_import.constants import Constant
from lipcert.operators import (
    Indexing,
    LinearOperator,
    Reshape,
    Shape,
    Transpose,
    identity,
    is_identity,
)

MAX_ELEMENTS = 1 << 28
"""Largest tensor that a model may ask for: 2 GiB of float64."""


@dataclass
class Scope:
    """The graph under construction: constants, shapes and nodes so far.

    Values are known by their ONNX names; a value is a constant (``constants``) or a signal
    (``shapes``), never both.  ``origins`` maps a value to the ONNX node that made it, ``names``
    a value to an equal one met before.
    """

    opset: int
    constants: dict[str, Constant] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    origins: dict[str, NodeProto] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    batch: int = 1
    label: str = ""
    onnx_type: str = ""
    named: set[str] = field(default_factory=set)
    _fresh: int = 0
    _rearranged: dict[tuple[object, ...], str] = field(default_factory=dict)

    def enter(self, node: NodeProto, position: int) -> NodeProto:
        """Make ``node`` the current one; returns it with its inputs under their first names."""
        self.label = node.name or f"{node.op_type}_{position}"
        self.onnx_type = node.op_type
        if any(name in self.names for name in node.input):
            renamed = NodeProto()
            renamed.CopyFrom(node)
            renamed.input[:] = [self.names.get(name, name) for name in node.input]
            node = renamed
        for name in node.output:
            self.origins[name] = node
        return node

    @property
    def place(self) -> str:
        """How errors name the current node."""
        return f"node {self.label!r} ({self.onnx_type}, opset {self.opset})"

    def refuse(self, finding: str, remedy: str = "") -> LipcertError:
        """The error for something about the current node that is not supported."""
        return UnsupportedError(self.place, finding, remedy)

    # --- reading -------------------------------------------------------------------------------

    def is_constant(self, name: str) -> bool:
        """Whether a value does not depend on the model's input."""
        return name in self.constants

    def shape(self, name: str) -> Shape:
        """Shape of a signal or a constant."""
        if name in self.shapes:
            return self.shapes[name]
        return tuple(self.constants[name].value.shape)

    def constant(self, name: str, role: str) -> Constant:
        """A constant operand; refused when it depends on the input."""
        if name not in self.constants:
            raise self.refuse(f"its {role} depends on the model's input", "export it as a constant")
        return self.constants[name]

    def integers(self, name: str, role: str) -> list[int]:
        """A constant operand as a list of integers."""
        value = self.constant(name, role).value
        if not np.issubdtype(value.dtype, np.integer):
            raise self.refuse(f"its {role} holds {value.dtype}, not integers")
        return [int(item) for item in np.atleast_1d(value)]

    def number(self, name: str, role: str) -> float:
        """A constant operand as one exact number."""
        constant = self.constant(name, role)
        if constant.value.size != 1 or constant.radius is not None:
            raise self.refuse(f"its {role} is not a single exact number")
        return float(constant.middle.reshape(-1)[0])

    # --- writing -------------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """A value name not used yet."""
        while True:
            self._fresh += 1
            name = f"{stem}/{self._fresh}"
            if name not in self.named:
                return name

    def emit(
        self,
        operation: Operation,
        inputs: tuple[str, ...],
        shape: Shape,
        output: str | None = None,
        parameters: tuple[str, ...] = (),
    ) -> str:
        """Append an operation and return the name of its output."""
        if math.prod(shape) > MAX_ELEMENTS:
            raise self.refuse(f"its output of shape {shape} has more than {MAX_ELEMENTS} elements")
        name = output if output is not None else self.fresh(self.label)
        self.nodes.append(
            Node(self.label, self.onnx_type, operation, inputs, name, shape, parameters)
        )
        self.shapes[name] = shape
        return name

    def linear(
        self,
        operator: LinearOperator,
        source: str,
        output: str | None = None,
        *,
        bias: Constant | None = None,
        parameters: tuple[str, ...] = (),
    ) -> str:
        """Append ``A x + b``; a rearrangement met before is the earlier value."""
        if isinstance(operator, Indexing) and bias is None:
            if is_identity(operator):
                return self._same(source, output)
            key = _rearrangement_key(operator, source)
            if key in self._rearranged:
                return self._same(self._rearranged[key], output)
            name = self.emit(Affine(operator), (source,), operator.out_shape, output)
            self._rearranged[key] = name
            return name
        operation = Affine(operator)
        if bias is not None:
            operation = Affine(operator, bias.tensor(), self._bias_error(bias, operator.out_shape))
            parameters = (*parameters, *bias.sources)
        return self.emit(operation, (source,), operator.out_shape, output, parameters)

    def _bias_error(self, bias: Constant, shape: Shape) -> float:
        copies = math.prod(shape) / max(1, bias.value.size)
        return bias.total_error() * math.sqrt(copies) * (1.0 + 1e-12)

    def shift(self, bias: Constant, source: str, output: str | None = None) -> str:
        """Append ``x + b``, broadcasting either side."""
        shape = tuple(np.broadcast_shapes(self.shape(source), bias.value.shape))
        return self.linear(identity(shape), self.broadcast(source, shape), output, bias=bias)

    def total(self, sources: list[str], output: str | None = None) -> str:
        """Append the sum of signals, broadcast to one shape."""
        shape = tuple(np.broadcast_shapes(*(self.shape(source) for source in sources)))
        sources = [self.broadcast(source, shape) for source in sources]
        return self.emit(Total(), tuple(sources), shape, output)

    def nonlinear(
        self, nonlinearity: Nonlinearity, sources: list[str], shape: Shape,
        output: str | None = None, parameters: tuple[str, ...] = (),
    ) -> str:
        """Append a nonlinearity."""
        return self.emit(nonlinearity, tuple(sources), shape, output, parameters)

    def rearrange(self, index: np.ndarray, source: str, output: str | None = None) -> str:
        """Append a map that moves elements: flat input positions, −1 for zero."""
        table = torch.from_numpy(np.ascontiguousarray(index, dtype=np.int64))
        return self.linear(Indexing(table, self.shape(source)), source, output)

    def positions(self, source: str) -> np.ndarray:
        """Flat positions of a signal's elements, in its shape."""
        shape = self.shape(source)
        return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)

    def alias(self, source: str, output: str) -> None:
        """Give a signal a further name."""
        self._same(source, output)

    def _same(self, source: str, output: str | None) -> str:
        if output is not None and output != source:
            self.names[output] = source
            self.origins.pop(output, None)
        return source

    def reshape(self, source: str, shape: Shape, output: str | None = None) -> str:
        """Append a reshape."""
        return self.linear(Reshape(self.shape(source), shape), source, output)

    def broadcast(self, source: str, shape: Shape) -> str:
        """The signal expanded to ``shape`` by ONNX's rules; itself when nothing changes."""
        if self.shape(source) == shape:
            return source
        return self.rearrange(np.broadcast_to(self.positions(source), shape), source)


def _rearrangement_key(operator: Indexing, source: str) -> tuple[object, ...]:
    """What makes two rearrangements of one signal the same."""
    if isinstance(operator, Reshape):
        return ("reshape", source, operator.out_shape)
    if isinstance(operator, Transpose):
        return ("transpose", source, operator.permutation)
    digest = hashlib.sha256(operator.index.contiguous().numpy().tobytes()).digest()
    return ("index", source, operator.out_shape, digest)


class Attributes:
    """A node's attributes, read with the type that the operator gives them."""

    def __init__(self, node: NodeProto, scope: Scope) -> None:
        self._scope = scope
        self._values: dict[str, Any] = {}
        for attribute in node.attribute:
            try:
                self._values[attribute.name] = onnx.helper.get_attribute_value(attribute)
            except ValueError as error:
                raise scope.refuse(f"attribute {attribute.name!r} cannot be read") from error

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def integer(self, name: str, default: int) -> int:
        """An INT attribute."""
        return int(self._typed(name, default, int))

    def number(self, name: str, default: float) -> float:
        """A FLOAT attribute: the float32 that the file holds, exactly."""
        return float(self._typed(name, default, float))

    def text(self, name: str, default: str) -> str:
        """A STRING attribute."""
        value = self._typed(name, default.encode(), bytes)
        return str(value.decode(errors="replace"))

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An INTS attribute."""
        values = self._typed(name, list(default), list)
        if not all(isinstance(value, int) for value in values):
            raise self._scope.refuse(f"attribute {name!r} does not hold integers")
        return tuple(values)

    def _typed(self, name: str, default: object, kind: type) -> Any:
        value = self._values.get(name, default)
        if not isinstance(value, kind):
            raise self._scope.refuse(f"attribute {name!r} is not of type {kind.__name__}")
        return value
