"""Averages as operators: pooling, means and layer centring against their matrices."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
import torch
from generators.methods import applied
from onnx import TensorProto, helper

from lipcert.bounds import BoundContext
from lipcert.graph import Graph
from lipcert.onnx_import import build_graph, parse_model
from lipcert.signals import fold
from lipcert.spectral import NORMS

ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}


def imported(op_type: str, shape: tuple[int, ...], **attributes: object) -> tuple[Graph, bytes]:
    node = helper.make_node(op_type, ["x"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    return build_graph(parse_model(content, "one"), name="one"), content


def matrix_by_onnxruntime(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    count = math.prod(shape)
    basis = np.eye(count, dtype=np.float32).reshape(count, *shape)
    return session.run(None, {"x": basis})[0].reshape(count, -1).T.astype(np.float64)


def values(graph: Graph, norm: str) -> list[float]:
    return [found.value for found in applied(fold(graph), BoundContext(norm)).values()]


def test_windows_side_by_side_by_hand() -> None:
    """2×2 means: each row is four quarters; l1 1/4, l2 1/2, linf 1."""
    graph, _ = imported("AveragePool", (1, 4, 4), kernel_shape=[2, 2], strides=[2, 2])
    for norm, truth in (("l1", 0.25), ("l2", 0.5), ("linf", 1.0)):
        for found in values(graph, norm):
            assert truth <= found <= truth * (1 + 1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [3], "strides": [1]},
    {"kernel_shape": [3], "strides": [2], "pads": [1, 1]},
    {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "count_include_pad": 1},
    {"kernel_shape": [2], "strides": [3], "pads": [0, 1]},
    {"kernel_shape": [3], "strides": [2], "ceil_mode": 1},
    {"kernel_shape": [4], "strides": [1], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [4], "strides": [3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [5], "strides": [5], "pads": [2, 2]},
])  # fmt: skip
def test_average_pool_against_its_matrix(attributes: dict[str, object], norm: str) -> None:
    shape = (2, 8)
    graph, content = imported("AveragePool", shape, **attributes)
    matrix = matrix_by_onnxruntime(content, shape)
    own = 1e-6  # the matrix comes in float32
    truth = float(np.linalg.norm(matrix, ORDERS[norm]))
    for found in values(graph, norm):
        assert truth * (1 - own) <= found <= truth * (1 + own)
    np.testing.assert_allclose(
        graph.evaluate(torch.eye(16, dtype=torch.float64).reshape(16, *shape)).T, matrix, atol=1e-6
    )


@pytest.mark.parametrize("count", [2, 3, 7, 10])
def test_mean_is_not_below_its_rational_norm(count: int) -> None:
    """``1/n`` is no float: the bounds are 1, 1/√n and 1/n, from above."""
    graph, _ = imported("GlobalAveragePool", (1, count))
    for found in values(graph, "linf"):
        assert 1 <= Fraction(found) <= 1 + Fraction(1, 10**9)
    for found in values(graph, "l1"):
        assert (
            Fraction(1, count) <= Fraction(found) <= Fraction(1, count) * (1 + Fraction(1, 10**9))
        )
    for found in values(graph, "l2"):
        assert Fraction(1, count) <= Fraction(found) ** 2
        assert found <= 1 / math.sqrt(count) * (1 + 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_mean_over_several_axes(norm: str) -> None:
    shape = (2, 3, 4)
    for axes in ([1], [2, 3], [1, 3], [-1]):
        graph, content = imported("ReduceMean", shape, axes=axes, keepdims=0)
        truth = float(np.linalg.norm(matrix_by_onnxruntime(content, shape), ORDERS[norm]))
        for found in values(graph, norm):
            assert truth * (1 - 1e-6) <= found <= truth * (1 + 1e-6)
