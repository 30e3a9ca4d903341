"""Operations that are not linear, and their Lipschitz constants."""

from __future__ import annotations

import math

import numpy as np

from .constants import spread
from .exact import CheckError, root, weight
from .linear import image, window
from .network import Stage
from .reader import Importer
from .wire import Node

KINKS = {"Relu": 0.0, "Abs": -1.0}
"""Slopes below zero of what has the slope 1 above."""
STEEPEST = {"Sigmoid": 0.25, "Tanh": 1.0, "Softplus": 1.0, "Softsign": 1.0, "Clip": 1.0}
"""Largest slopes of what never falls."""


def activate(importer: Importer, node: Node) -> None:
    """Nonlinearities that act element by element."""
    if any(importer.real(name).mantissa.size != 1 for name in filter(None, node.inputs[1:])):
        raise CheckError(f"where {node.outputs[0]!r} is cut is not one number")
    below = KINKS.get(node.kind)
    if node.kind == "LeakyRelu":
        below = float(node.attributes.get("alpha", np.float32(0.01)))
    if below is None:
        slopes = 0.0, STEEPEST[node.kind]
    elif math.isfinite(below):
        slopes = min(below, 1.0), max(below, 1.0)
    else:
        raise CheckError(f"the slope of {node.outputs[0]!r} is not finite")
    own = Stage("", node.kind, slopes, max(map(abs, slopes)), below)
    importer.stage(node, importer.signals[node.inputs[0]], own)


def softmax(importer: Importer, node: Node) -> None:
    """Softmax over one axis: 1/2-Lipschitz."""
    array = importer.signals[node.inputs[0]]
    axis = node.attributes.get("axis", -1 if importer.file.opset >= 13 else 1) % array.ndim
    last = axis == array.ndim - 1 or importer.file.opset < 13
    if not last or math.prod(array.shape[:axis]) != 1:
        raise CheckError("Softmax other than over a whole sample is not covered")
    importer.stage(node, array, Stage("", "Softmax", None, 0.5))


def pool(importer: Importer, node: Node) -> None:
    """MaxPool: the root of how many windows hold one element."""
    array, sides = image(importer, node), tuple(node.attributes["kernel_shape"])
    if len(node.outputs) > 1:
        raise CheckError("MaxPool with indices is not covered")
    channels, size = array.shape[1], math.prod(array.shape[2:])
    kernel = spread(weight(np.ones((1,) * array.ndim)), (channels, 1, *sides))
    one = window(node, array, kernel, channels)
    places = np.arange(channels * size).reshape(1, channels, *one.spatial)
    windows = np.moveaxis(one.patches(places, -1)[0], 1, 2).reshape(-1, math.prod(sides))
    if (windows < 0).all(1).any():
        raise CheckError("MaxPool over padding alone is not covered")
    most = int(np.bincount(windows[windows >= 0]).max())
    constant = 1.0 if most == 1 else float(root(float(most)))
    maker = Stage("", "MaxPool", None, constant, windows=windows)
    importer.stage(node, array, maker, (1, channels, *one.out_spatial))


def extreme(importer: Importer, node: Node) -> None:
    """Max and Min of two signals, taken together where both are there: a permutation."""
    if len(node.inputs) != 2 or any(name not in importer.signals for name in node.inputs):
        raise CheckError(f"{node.kind} other than of two signals is not covered")
    first, second = sorted(node.inputs)
    arrays = [importer.signals[first], importer.signals[second]]
    if arrays[0].shape != arrays[1].shape:
        raise CheckError(f"{node.kind} with broadcasting is not covered")
    size = arrays[0].size
    if (first, second) not in importer.ordered:
        name = f"{node.outputs[0]}/sorted"
        pair = np.concatenate([array.reshape(-1) for array in arrays])
        pairs = np.tile(np.arange(2 * size).reshape(2, -1).T, (2, 1))
        signs = np.repeat([[1], [-1]], size, axis=0)  # the larger ones, and then the smaller
        source = importer.network.joined(f"{name}/in", pair)
        maker = Stage(source, "Sort", None, 1.0, windows=pairs, signs=signs)
        importer.ordered[first, second] = importer.network.value(name, 2 * size, maker)
    both = importer.ordered[first, second]
    half = both[:size] if node.kind == "Max" else both[size:]
    importer.signals[node.outputs[0]] = half.reshape(arrays[0].shape)
