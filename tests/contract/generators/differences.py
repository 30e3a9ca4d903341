"""Gradients in initialisers by differences: the file is changed, imported again and evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from lipcert.certification.evaluation import RoundedEvaluator
from lipcert.onnx_import import build_graph

STEP = 2.0**-13
"""The smaller of two steps: at it truncation and rounding are about the same."""


@dataclass(frozen=True)
class Slopes:
    """Differences ``(samples, outputs, elements)``, and how far from derivatives they may be.

    ``errors`` is of the same shape; ``rounding`` bounds the l2 norm of what the outputs' rounding
    does to the slopes in one element.
    """

    values: np.ndarray
    errors: np.ndarray
    rounding: float


def steepest_below(parts: Iterable[Slopes]) -> float:
    """The largest spectral norm of the derivatives in all parts together, less its error."""
    parts = list(parts)
    values = np.concatenate([part.values for part in parts], -1)
    errors = np.concatenate([part.errors for part in parts], -1)
    rounding = math.sqrt(sum(part.values.shape[-1] * part.rounding**2 for part in parts))
    norms = np.linalg.norm(values, 2, axis=(1, 2)) * (1.0 - 1e-12)
    return float((norms - np.linalg.norm(errors, axis=(1, 2)) - rounding).max())


def evaluated(model: onnx.ModelProto, x: torch.Tensor) -> np.ndarray:
    return build_graph(model, name="moved").evaluate(x).numpy()


def jacobians(model: onnx.ModelProto, x: torch.Tensor, most: int = 400) -> dict[str, Slopes]:
    """Slopes in every initialiser of real numbers, by central differences at two steps.

    With D(h) = f' + ch² + O(h⁴) the value is (4D(h) − D(2h))/3; its error is taken for |D(h) −
    D(2h)|, three times that of D(h), and covers a kink between the points too.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for tensor in wide.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    graph = build_graph(wide, name="still")
    off = RoundedEvaluator(graph).run(x.double(), (graph.output,)).errors[graph.output]
    rounding = 2.0 * off / STEP  # (4·2e/(2h) + 2e/(4h))/3, and room for the points beside it
    found = {}
    for tensor in wide.graph.initializer:
        if tensor.data_type != onnx.TensorProto.DOUBLE:
            continue
        array = numpy_helper.to_array(tensor).astype(np.float64)
        if array.size > most:
            continue
        near, far = (
            np.stack([_slope(wide, tensor, array, place, step, x) for place in places], -1)
            for places, step in ((list(np.ndindex(array.shape)), k * STEP) for k in (1.0, 2.0))
        )
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        found[tensor.name] = Slopes((4.0 * near - far) / 3.0, np.abs(near - far), rounding)
    return found


def _slope(
    model: onnx.ModelProto,
    tensor: onnx.TensorProto,
    array: np.ndarray,
    place: tuple[int, ...],
    step: float,
    x: torch.Tensor,
) -> np.ndarray:
    """The central difference in one element, ``(samples, outputs)``."""
    sides, points = [], []
    for sign in (1.0, -1.0):
        moved = array.copy()
        moved[place] += sign * step
        tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        sides.append(evaluated(model, x))
        points.append(moved[place])
    return (sides[0] - sides[1]) / (points[0] - points[1])
