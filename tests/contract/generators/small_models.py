"""Small ONNX models for the tests of sensitivities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lipcert.graph import Graph
from lipcert.onnx_import import build_graph

Step = tuple[str, Sequence[str], str] | tuple[str, Sequence[str], str, Mapping[str, object]]


def onnx_model(
    steps: Sequence[Step], initialisers: Mapping[str, object], shape: Sequence[int]
) -> onnx.ModelProto:
    """Nodes ``(type, inputs, output[, attributes])``, each named after its output, from ``x``."""
    nodes = []
    for step in steps:
        attributes = step[3] if len(step) > 3 else {}
        nodes.append(helper.make_node(step[0], step[1], [step[2]], name=step[2], **attributes))
    held = [
        numpy_helper.from_array(
            np.asarray(value, np.int64 if np.asarray(value).dtype.kind == "i" else np.float32), name
        )
        for name, value in initialisers.items()
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(steps[-1][2], kind, None)],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def small_graph(
    steps: Sequence[Step], initialisers: Mapping[str, object], shape: Sequence[int]
) -> Graph:
    return build_graph(onnx_model(steps, initialisers, shape), name="small")
