"""Other numbers in the weights of an imported graph, without importing it again.

Exchanged are initialisers that only Gemm, MatMul, Conv, ConvTranspose and Add read, and whose
elements are a dense or convolution operator's coefficients or a bias as they are: these importers
ask nothing of their values.  That the rest of the graph does not depend on them either is tried
by importing the model once more with other numbers: that graph must be the rebound one, bit by
bit.  Everything else (a folded normalisation, a slope) makes a model that is imported again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from lipcert.errors import LipcertError
from lipcert.graph import Affine, Graph, Node, Origin
from lipcert.onnx_import.loader import build_graph
from lipcert.onnx_import.sameness import are_same
from lipcert.operators import Adjoint, Convolution, Dense, LinearOperator

Array = NDArray[np.float64]

READERS = frozenset(
    {
        *(("Gemm", 1), ("Gemm", 2), ("MatMul", 0), ("MatMul", 1), ("Add", 0), ("Add", 1)),
        *(("Conv", 1), ("Conv", 2), ("ConvTranspose", 1), ("ConvTranspose", 2)),
    }
)
"""Operands whose values do not change what their operator becomes, as long as they are finite."""

FLOATS = {"float32": np.float32, "float64": np.float64}


@dataclass(frozen=True, eq=False)
class Rebinding:
    """A graph, and where its initialisers stand in it.

    Parameters
    ----------
    graph : as imported.
    values : what the initialisers that can be exchanged hold in it, float64, by name.
    """

    graph: Graph
    values: Mapping[str, Array]

    @staticmethod
    def of(graph: Graph, model: ModelProto) -> Rebinding:
        """For a graph just imported from a model, external data in it; perhaps without names."""
        held = {
            tensor.name: np.asarray(numpy_helper.to_array(tensor), dtype=np.float64)
            for tensor in model.graph.initializer
            if numpy_helper.to_array(tensor).dtype.name in FLOATS
        }
        reads = _reads(model)
        names = {name for name in held if name in reads and reads[name] <= READERS}
        names -= set(_disqualified(graph, model, names, held))
        found = Rebinding(graph, {name: held[name] for name in sorted(names)})
        return found if names and found._stands(model) else Rebinding(graph, {})

    def rebound(self, values: Mapping[str, Array]) -> Rebinding:
        """The same with other finite numbers; nodes and values that do not change stay the same.

        Parameters
        ----------
        values : of any of the names, float64 in the initialisers' shapes, not to be changed later.
        """
        new = {
            name: value
            for name, value in values.items()
            if not np.array_equal(value, self.values[name])
        }
        if not new:
            return self
        nodes = tuple(_with_values(node, new) for node in self.graph.nodes)
        graph = replace(self.graph, nodes=nodes, sha256="", source="")
        return Rebinding(graph, {**self.values, **new})

    def restricted(self, names: Iterable[str]) -> Rebinding:
        """The same with only some of the names."""
        return Rebinding(self.graph, {name: self.values[name] for name in names})

    def _stands(self, model: ModelProto) -> bool:
        """Whether an import of other numbers gives what they give here."""
        generator = np.random.default_rng(0)
        probe = ModelProto()
        probe.CopyFrom(model)
        values = {}
        for tensor in probe.graph.initializer:
            if tensor.name in self.values:
                array = numpy_helper.to_array(tensor)
                other = np.asarray(generator.uniform(0.25, 1.75, array.shape), dtype=array.dtype)
                tensor.CopyFrom(numpy_helper.from_array(other, tensor.name))
                values[tensor.name] = np.asarray(other, dtype=np.float64)
        graph = self.graph
        try:
            built = build_graph(
                probe,
                name=graph.name,
                input_shape=graph.sample_shape,
                output=graph.file_output or None,
            )
        except LipcertError:
            return False
        return are_same(self.rebound(values).graph, replace(built, sha256="", source=""))


def skeleton(model: ModelProto, names: Iterable[str]) -> bytes:
    """All of a model but the numbers in some of its initialisers."""
    bare, wanted = ModelProto(), set(names)
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        if tensor.name in wanted:
            for field in ("raw_data", "float_data", "double_data"):
                tensor.ClearField(field)
    return bytes(bare.SerializeToString(deterministic=True))


def _reads(model: ModelProto) -> dict[str, set[tuple[str, int]]]:
    """By value: the operators that read it, and as which operand."""
    found: dict[str, set[tuple[str, int]]] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            kind = node.op_type if not node.domain else f"{node.domain}.{node.op_type}"
            found.setdefault(name, set()).add((kind, place))
    for output in model.graph.output:
        found.setdefault(output.name, set()).add(("output", 0))
    return found


def _disqualified(
    graph: Graph, model: ModelProto, names: Iterable[str], held: Mapping[str, Array]
) -> list[str]:
    """Names that some operator reads in another way than as coefficients or a bias as they are."""
    counts = dict.fromkeys(names, 0)
    for node in model.graph.node:
        for name in node.input:
            if name in counts:
                counts[name] -= 1
    lost = {name for name in counts if not np.isfinite(held[name]).all()}
    for node in graph.nodes:
        for name in node.parameters:
            if name in counts and not _enters_as_it_is(node, name, held[name]):
                lost.add(name)
            counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if count or name in lost]


def _enters_as_it_is(node: Node, name: str, value: Array) -> bool:
    if not isinstance(node.operation, Affine) or (*node.parameters,).count(name) != 1:
        return False
    as_weight = [origin for origin in node.origins if origin.name == name]
    as_bias = [origin for origin in node.shifts if origin.name == name]
    if len(as_weight) + len(as_bias) != 1:
        return False
    if as_weight:
        operator = _inner(node.operation.operator)
        if len(node.origins) != 1 or operator is None:
            return False
        exact = (operator.error.l1, operator.error.l2, operator.error.linf) == (0.0, 0.0, 0.0)
        return exact and _is_moved(as_weight[0], value, operator.weight)
    bias = node.operation.bias
    if len(node.shifts) != 1 or bias is None or node.operation.bias_error != 0.0:
        return False
    return _is_moved(as_bias[0], value, bias)


def _inner(operator: LinearOperator) -> Dense | Convolution | None:
    inner = operator.operator if isinstance(operator, Adjoint) else operator
    return inner if isinstance(inner, Dense | Convolution) else None


def _is_moved(origin: Origin, value: Array, held: torch.Tensor) -> bool:
    if origin.slope.ndim or float(origin.slope) != 1.0:
        return False
    moved = _moved(origin, value).numpy()
    return moved.shape == tuple(held.shape) and moved.tobytes() == held.cpu().numpy().tobytes()


def _moved(origin: Origin, value: Array) -> torch.Tensor:
    """An initialiser's values where the origin says that they stand."""
    found: NDArray[np.generic] = value
    for move in origin.moves:
        found = move(found)
    return torch.from_numpy(np.array(found, dtype=np.float64, order="C"))


def _with_values(node: Node, values: Mapping[str, Array]) -> Node:
    """The node with the coefficients and the bias that new values give it."""
    if not any(name in values for name in node.parameters):
        return node
    operation = node.operation
    assert isinstance(operation, Affine)
    for origin in node.origins:
        if origin.name in values:
            weight = _moved(origin, values[origin.name])
            operation = replace(operation, operator=_with_weight(operation.operator, weight))
    for origin in node.shifts:
        if origin.name in values:
            operation = replace(operation, bias=_moved(origin, values[origin.name]))
    return replace(node, operation=operation)


def _with_weight(operator: LinearOperator, weight: torch.Tensor) -> LinearOperator:
    if isinstance(operator, Adjoint):
        return Adjoint(_with_weight(operator.operator, weight))
    if isinstance(operator, Dense):
        return Dense(weight, operator.lead, operator.error)
    assert isinstance(operator, Convolution)
    return operator.with_weight(weight, operator.error)
