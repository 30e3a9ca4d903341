"""Attributes that a file leaves out are float32 numbers, as those that it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lipcert
from lipcert.nonlinear import Activation


@pytest.mark.parametrize(
    ("kind", "default"),
    [("LeakyRelu", np.float32(0.01)), ("HardSigmoid", np.float32(0.2))],
)
def test_the_slope_is_that_of_the_float32(kind: str, default: np.float32, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    (node,) = lipcert.load(path).nodes
    assert isinstance(node.operation, Activation)
    slopes = node.operation.slopes
    assert float(default) in (slopes.alpha, slopes.beta)
