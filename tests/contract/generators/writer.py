"""Writing a small ONNX model node by node, with the shape of every value kept at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A value of the model: its name, and its shape without the batch axis."""

    name: str
    shape: Shape

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass
class Writer:
    """An ONNX model being written.

    Parameters
    ----------
    exact : use only small dyadic weights and piecewise linear functions, whose slopes float64
        computes without rounding.
    depth : how many branches the next block is inside of.
    """

    rng: np.random.Generator
    opset: int
    exact: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initialisers: list[onnx.TensorProto] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    depth: int = 0
    _count: int = 0

    # --- choices ---------------------------------------------------------------------------

    def integer(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, items: Sequence):
        return items[int(self.rng.integers(len(items)))]

    def weights(self, *shape: int, fan: int = 1) -> np.ndarray:
        """Random weights; a layer of ``fan`` inputs each keeps the size of its signal."""
        if self.exact:
            found = self.rng.integers(-3, 4, shape) / 4.0
        else:
            gain = 10.0 ** self.rng.uniform(-1.5, 1.0) if self.chance(0.1) else 1.0
            found = gain * self.rng.standard_normal(shape) / math.sqrt(fan)
            if self.chance(0.15):
                found = found * (self.rng.random(shape) < 0.4)
            if self.chance(0.15):
                found = np.abs(found)
        return np.asarray(found, dtype=np.float32)

    # --- writing ---------------------------------------------------------------------------

    def fresh(self, stem: str = "v") -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def constant(self, array: np.ndarray | Sequence | float, dtype: type = np.float32) -> str:
        """An initialiser, or now and then a Constant node."""
        name = self.fresh("c")
        tensor = numpy_helper.from_array(np.asarray(array, dtype=dtype), name)
        if self.chance(0.1):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initialisers.append(tensor)
        return name

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(list(values), np.int64)

    def node(self, op_type: str, inputs: Sequence[Value | str], **attributes: object) -> str:
        """Append a node with one output and return its name."""
        return self.split(op_type, inputs, 1, **attributes)[0]

    def split(
        self, op_type: str, inputs: Sequence[Value | str], outputs: int, **attributes: object
    ) -> list[str]:
        """Append a node with several outputs and return their names."""
        names = [item.name if isinstance(item, Value) else item for item in inputs]
        made = [self.fresh() for _ in range(outputs)]
        label = self.fresh(f"{op_type}_") if self.chance(0.9) else ""
        self.nodes.append(helper.make_node(op_type, names, made, name=label, **attributes))
        return made

    def apply(
        self, op_type: str, inputs: Sequence[Value | str], shape: Shape, **attributes: object
    ) -> Value:
        """Append a node whose output has ``shape``."""
        return Value(self.node(op_type, inputs, **attributes), tuple(int(n) for n in shape))

    def reshape(self, value: Value, shape: Shape) -> Value:
        """To another shape, the batch left alone."""
        target = list(shape)
        if self.chance(0.3) and target:
            target[self.integer(0, len(target) - 1)] = -1
        return self.apply("Reshape", [value, self.integers([0, *target])], shape)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Permute the axes behind the batch; ``order`` counts them from 0."""
        shape = tuple(value.shape[axis] for axis in order)
        perm = [0, *(axis + 1 for axis in order)]
        return self.apply("Transpose", [value], shape, perm=perm)

    def flat(self, value: Value) -> Value:
        """As a vector."""
        if len(value.shape) == 1:
            return value
        if self.chance(0.5):
            return self.apply("Flatten", [value], (value.size,), axis=1)
        return self.reshape(value, (value.size,))

    def reduce(self, op_type: str, value: Value, axes: Sequence[int], *, keepdims: bool) -> Value:
        """A reduction over axes behind the batch, counted from 0."""
        wanted = [axis + 1 for axis in axes]
        shape = tuple(
            1 if axis in axes else n
            for axis, n in enumerate(value.shape)
            if keepdims or axis not in axes
        )
        by_input = self.opset >= (13 if op_type == "ReduceSum" else 18)
        if by_input:
            return self.apply(
                op_type, [value, self.integers(wanted)], shape, keepdims=int(keepdims)
            )
        return self.apply(op_type, [value], shape, axes=wanted, keepdims=int(keepdims))

    def pieces(self, value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
        """Split along an axis behind the batch, counted from 0."""
        if self.opset >= 13:
            names = self.split("Split", [value, self.integers(sizes)], len(sizes), axis=axis + 1)
        else:
            names = self.split("Split", [value], len(sizes), axis=axis + 1, split=list(sizes))
        shapes = [(*value.shape[:axis], n, *value.shape[axis + 1 :]) for n in sizes]
        return [Value(name, shape) for name, shape in zip(names, shapes, strict=True)]

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Side by side along an axis behind the batch, counted from 0."""
        first = values[0].shape
        total = sum(value.shape[axis] for value in values)
        return self.apply(
            "Concat", list(values), (*first[:axis], total, *first[axis + 1 :]), axis=axis + 1
        )

    def slice(self, value: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
        """Every ``step``-th of the elements from ``start`` to ``stop`` along an axis."""
        count = len(range(*slice(start, stop, step).indices(value.shape[axis])))
        shape = (*value.shape[:axis], count, *value.shape[axis + 1 :])
        operands = [[start], [stop], [axis + 1], [step]]
        return self.apply("Slice", [value, *(self.integers(o) for o in operands)], shape)

    def model(self, source: Value, output: Value, *, batch: int | str) -> onnx.ModelProto:
        """The finished model."""
        kind = TensorProto.FLOAT
        name = "out"
        self.nodes.append(helper.make_node("Identity", [output.name], [name]))
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info(source.name, kind, [batch, *source.shape])],
            [helper.make_tensor_value_info(name, kind, [batch, *output.shape])],
            self.initialisers,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )
