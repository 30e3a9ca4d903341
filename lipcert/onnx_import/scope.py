"""What an importer function sees while it turns one ONNX node into operations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import NodeProto

from lipcert.errors import LipcertError, UnsupportedError
from lipcert.graph import Affine, Node, Operation, Total
from lipcert.nonlinear import Nonlinearity
from lipcert.onnx_import.constants import NONE, Constant, traced
from lipcert.onnx_import.rearranged import key_of
from lipcert.onnx_import.room import MAX_ELEMENTS, MAX_SIGNAL, SHARED_SIZE, Room
from lipcert.operators import (
    Indexing,
    LinearOperator,
    Reshape,
    Shape,
    identity,
    is_identity,
)

Positions = NDArray[np.int64]
"""Flat positions in a signal, −1 for zero."""

CHECK = "check the model with onnx.checker"
"""The remedy for a node that is not what its operator allows."""


@dataclass(frozen=True)
class Pending:
    """A value with jumps: its shape, and the refusal to raise where it is used as a signal."""

    shape: Shape
    refusal: LipcertError


@dataclass(frozen=True, eq=False)
class Masked:
    """Where a signal is really −∞ (a softmax's mask); it holds finite numbers there."""

    hidden: NDArray[np.bool_]


@dataclass
class Scope:
    """The graph under construction: constants, shapes and nodes so far.

    Values are known by their ONNX names; a value is a constant (``constants``) or a signal
    (``shapes``), never both.  ``origins`` maps a value to the ONNX node that made it, ``names``
    a value to an equal one met before.  ``pending`` holds values that jump where their operands
    cross a limit (comparisons, signs): they are no signals, but may become part of one.
    ``merged`` holds outputs of nodes that repeat an earlier one, initialisers included;
    ``readers`` the position of the first node of each label that reads an initialiser.
    """

    opset: int
    constants: dict[str, Constant] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    origins: dict[str, NodeProto] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    masked: dict[str, Masked] = field(default_factory=dict)
    batch: int = 1
    narrow: bool = False
    label: str = ""
    onnx_type: str = ""
    named: set[str] = field(default_factory=set)
    merged: set[str] = field(default_factory=set)
    readers: dict[str, int] = field(default_factory=dict)
    _fresh: int = 0
    _room: Room | None = None
    _own: set[str] = field(default_factory=set)
    _met: dict[tuple[object, ...], NodeProto] = field(default_factory=dict)
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
        self._own.clear()
        for name in node.output:
            self.origins[name] = node
        return node

    def repeats(self, node: NodeProto) -> bool:
        """Whether a node does what an earlier one did; its outputs are then those of that one."""
        key = (
            node.op_type,
            *(self._content(name) for name in node.input),
            *sorted(item.SerializeToString(deterministic=True) for item in node.attribute),
            len(node.output),
        )
        earlier = self._met.setdefault(key, node)
        pairs = list(zip(node.output, earlier.output, strict=True))
        if earlier is node or any(new and not old for new, old in pairs):
            return False
        if self._sources(node) == self._sources(earlier):
            self.merged.update(filter(None, node.output))
        for new, old in pairs:
            if new:
                self._same(self.names.get(old, old), new)
        return True

    def _sources(self, node: NodeProto) -> list[tuple[str, ...]]:
        return [self.constants[name].sources for name in node.input if name in self.constants]

    def _content(self, name: str) -> object:
        constant = self.constants.get(name)
        if constant is None or constant.radius is not None or constant.value.size > SHARED_SIZE:
            return name
        value = constant.value
        return (value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes())

    @property
    def place(self) -> str:
        """How errors name the current node."""
        return f"node {self.label!r} ({self.onnx_type}, opset {self.opset})"

    def refuse(self, finding: str, remedy: str = CHECK) -> LipcertError:
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
        real = constant.value.dtype.kind not in "USO"
        if constant.value.size != 1 or constant.radius is not None or not real:
            raise self.refuse(f"its {role} is not a single exact number")
        number = float(constant.middle.reshape(-1)[0])
        if math.isnan(number):
            raise self.refuse(f"its {role} is not a number")
        return number

    def allow(self, elements: float, what: str, most: int = MAX_SIGNAL) -> None:
        """Refuse to build something of absurd size before any memory is taken for it."""
        if not elements <= most:
            finding = f"asks for {what} of {float(elements):.3g} elements"
            raise self.refuse(finding, "export a smaller model")

    @property
    def room(self) -> Room:
        """What computed constants and index maps may still take."""
        if self._room is None:
            self._room = Room.beside(held.value.size for held in self.constants.values())
        return self._room

    def allow_constant(self, elements: float) -> None:
        """Refuse a constant that is too large, alone or with all computed before."""
        self.allow(elements, "a constant", MAX_ELEMENTS)
        if elements > self.room.constants:
            raise self.refuse("asks for too many computed constants", "fold them when exporting")

    def define(self, name: str, constant: Constant) -> None:
        """Enter a computed constant; all of them together must stay within bounds."""
        self.allow_constant(constant.value.size)
        self.room.constants -= constant.value.size
        self.constants[name] = constant

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
        coefficients: Constant = NONE,
        bias: Constant = NONE,
    ) -> str:
        """Append an operation and return the name of its output."""
        self.allow(math.prod(shape), "a tensor")
        for source in inputs:
            if source not in self.shapes:
                raise self.refuse(f"reads {source!r}, which is no signal, in place of one")
        name = output if output is not None else self.fresh(self.label)
        self._own.add(name)
        node = Node(self.label, self.onnx_type, operation, inputs, name, shape)
        self.nodes.append(traced(node, coefficients, bias))
        self.shapes[name] = shape
        return name

    def linear(
        self,
        operator: LinearOperator,
        source: str,
        output: str | None = None,
        *,
        bias: Constant | None = None,
        coefficients: Constant = NONE,
    ) -> str:
        """Append ``A x + b``; a rearrangement or projection met before is the earlier value."""
        if is_identity(operator) and bias is None:
            return self._same(source, output)
        key = key_of(operator, source) if bias is None else None
        if key is not None:
            if key not in self._rearranged:
                self._rearranged[key] = self.emit(
                    Affine(operator), (source,), operator.out_shape, output
                )
            return self._same(self._rearranged[key], output)
        operation, shape = Affine(operator), operator.out_shape
        if bias is not None:
            operation = Affine(operator, bias.tensor(), self._bias_error(bias, shape))
        return self.emit(operation, (source,), shape, output, coefficients, bias or NONE)

    def _bias_error(self, bias: Constant, shape: Shape) -> float:
        copies = math.prod(shape) / max(1, bias.value.size)
        return bias.total_error() * math.sqrt(copies) * (1.0 + 1e-12)

    def shift(self, bias: Constant, source: str, output: str | None = None) -> str:
        """Append ``x + b``, broadcasting either side."""
        shape = self.common_shape(self.shape(source), bias.value.shape)
        return self.linear(identity(shape), self.broadcast(source, shape), output, bias=bias)

    def total(self, sources: list[str], output: str | None = None) -> str:
        """Append the sum of signals, broadcast to one shape."""
        shape = self.common_shape(*(self.shape(source) for source in sources))
        if len(sources) == 1:
            return self._same(sources[0], output)
        sources = [self.broadcast(source, shape) for source in sources]
        return self.emit(Total(), tuple(sources), shape, output)

    def nonlinear(
        self,
        nonlinearity: Nonlinearity,
        sources: list[str],
        shape: Shape,
        output: str | None = None,
        coefficients: Constant = NONE,
    ) -> str:
        """Append a nonlinearity."""
        return self.emit(nonlinearity, tuple(sources), shape, output, coefficients)

    def rearrange(self, index: Positions, source: str, output: str | None = None) -> str:
        """Append a map that moves elements: flat input positions, −1 for zero."""
        if not self.room.moves(index.size):
            raise self.refuse("moves too many elements about", "export a smaller model")
        table = torch.from_numpy(np.require(index, np.int64, ["C", "W"]))
        return self.linear(Indexing(table, self.shape(source)), source, output)

    def positions(self, source: str) -> Positions:
        """Flat positions of a signal's elements, in its shape."""
        shape = self.shape(source)
        self.allow(math.prod(shape), "a tensor")
        return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)

    def alias(self, source: str, output: str) -> None:
        """Give a signal a further name."""
        self._same(source, output)

    def _same(self, source: str, output: str | None) -> str:
        if output is not None and output != source:
            self.names[output] = source
            node = self.origins.pop(output, None)
            if node is not None and source in self._own:
                self.origins[source] = node
        return source

    def reshape(self, source: str, shape: Shape, output: str | None = None) -> str:
        """Append a reshape."""
        return self.linear(Reshape(self.shape(source), shape), source, output)

    def broadcast(self, source: str, shape: Shape) -> str:
        """The signal expanded to ``shape`` by ONNX's rules; itself when nothing changes."""
        if self.shape(source) == shape:
            return source
        self.allow(math.prod(shape), "a tensor")
        return self.rearrange(np.broadcast_to(self.positions(source), shape), source)

    def common_shape(self, *shapes: Shape) -> Shape:
        """The shape that operands broadcast to, or a refusal."""
        try:
            return tuple(int(n) for n in np.broadcast_shapes(*shapes))
        except ValueError as error:
            raise self.refuse(f"its operands' shapes {shapes} do not broadcast") from error
