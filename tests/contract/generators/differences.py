"""Gradients in initialisers by differences: the file is changed, imported again and evaluated."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from lipcert.onnx_import import build_graph

STEP = 1e-6


def evaluated(model: onnx.ModelProto, x: torch.Tensor) -> np.ndarray:
    return build_graph(model, name="moved").evaluate(x).numpy()


def jacobians(model: onnx.ModelProto, x: torch.Tensor, most: int = 400) -> dict[str, np.ndarray]:
    """``(samples, outputs, elements)`` for every initialiser of real numbers, in float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    found = {}
    for tensor in wide.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for tensor in wide.graph.initializer:
        if tensor.data_type != onnx.TensorProto.DOUBLE:
            continue
        array = numpy_helper.to_array(tensor).astype(np.float64)
        columns = []
        if array.size > most:
            continue
        for place in np.ndindex(array.shape):
            sides = []
            for sign in (1.0, -1.0):
                moved = array.copy()
                moved[place] += sign * STEP
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
                sides.append(evaluated(wide, x))
            columns.append((sides[0] - sides[1]) / (2.0 * STEP))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        found[tensor.name] = np.stack(columns, -1)
    return found
