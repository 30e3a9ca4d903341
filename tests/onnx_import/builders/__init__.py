"""Making small models, and what is expected of those that are refused.

``conftest.py`` loads this package as ``lipcert_test_builders``.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipcert.errors import LipcertError
from lipcert.graph import Graph
from lipcert.nonlinear import Nonlinearity
from lipcert.onnx_import import build_graph, parse_model

RNG = np.random.default_rng(2)


def weights(*shape: int) -> np.ndarray:
    """Random float32 numbers."""
    return RNG.standard_normal(shape).astype(np.float32)


def int64(*values: int) -> np.ndarray:
    """A vector of int64."""
    return np.array(values, dtype=np.int64)


def model(nodes, initialisers=(), shape=(1, 4), opset=17, outputs=("y",), inputs=("x",)):
    """A model of given nodes; initialisers as (name, array) or as tensors."""
    tensors = [
        item if isinstance(item, onnx.TensorProto) else numpy_helper.from_array(item[1], item[0])
        for item in initialisers
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def small_net() -> onnx.ModelProto:
    """A perceptron with a little of everything that exporters write."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Reshape", ["r", "shape"], ["s"], name="pairs"),
        helper.make_node("ReduceMax", ["s"], ["m"], name="max", axes=[2], keepdims=0),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(weights(3, 2))),
        helper.make_node("MatMul", ["m", "k"], ["y"], name="last"),
    ]
    initialisers = [
        ("w", weights(6, 4)), ("b", weights(6)), ("shape", np.array([1, 3, 2], np.int64)),
    ]  # fmt: skip
    return model(nodes, initialisers)


def refused(
    proto: onnx.ModelProto, kind: type[LipcertError] = LipcertError, peak: int = 64 << 20, **options
):
    """The error that a model raises; it names a place and a remedy, and costs little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(kind) as caught:
            build_graph(parse_model(proto.SerializeToString(), "m.onnx"), name="m.onnx", **options)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.place and caught.value.finding and caught.value.remedy
    assert taken < peak
    return caught.value


def op(op_type: str, *inputs: str, **attributes):
    """One node from its inputs to y."""
    return helper.make_node(op_type, list(inputs), ["y"], name="tested", **attributes)


def read(program: str, shape=(1, 6), opset: int = 13, **constants) -> Graph:
    """A graph from lines ``out = Op(in, in) attribute=value``; the output is ``y``.

    Numbers among the inputs are float32 constants, names may be those of ``constants``.
    """
    nodes, tensors = [], []
    for name, value in constants.items():
        tensors.append(numpy_helper.from_array(np.asarray(value), name))
    lines = [line.strip() for line in program.strip().splitlines()]
    for line in lines:
        head, _, rest = line.partition(" = ")
        op_type, _, rest = rest.partition("(")
        inputs, _, options = rest.partition(")")
        names = []
        for item in filter(None, (part.strip() for part in inputs.split(","))):
            try:
                value = np.float32(float(item))
            except ValueError:
                names.append(item)
                continue
            names.append(f"number{len(tensors)}")
            tensors.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        attributes = dict(part.split("=") for part in options.split())
        parsed = {key: _value(value) for key, value in attributes.items()}
        outputs = [part.strip() for part in head.split(",")]
        nodes.append(helper.make_node(op_type, names, outputs, name=outputs[0], **parsed))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return build_graph(model, name="m")


def _value(text: str):
    if text.startswith("["):
        return [int(part) for part in text[1:-1].split(",")]
    return float(text) if "." in text else int(text)


def nonlinearities(graph: Graph) -> list[Nonlinearity]:
    """The nonlinearities of a graph in order."""
    return [n.operation for n in graph.nodes if isinstance(n.operation, Nonlinearity)]


def only(graph: Graph) -> Nonlinearity:
    """The one nonlinearity of a graph."""
    (found,) = nonlinearities(graph)
    return found
