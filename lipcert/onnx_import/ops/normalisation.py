"""Softmax and normalisation layers, each as centring, division, scaling and shift."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto

from lipcert.nonlinear import LogSoftmax, RootMeanSquare, Softmax
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.ops.arithmetic import scale
from lipcert.onnx_import.ops.pooling import optional_output
from lipcert.onnx_import.ops.shaping import normal_axis, optional
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Attributes, Scope
from lipcert.operators import Centring


@IMPORTERS.register("Softmax", "LogSoftmax")
def import_softmax(node: NodeProto, scope: Scope) -> None:
    """Along one axis; before opset 13 along all axes from the given one on."""
    shape = scope.shape(node.input[0])
    default = -1 if scope.opset >= 13 else 1
    axis = normal_axis(Attributes(node, scope).integer("axis", default), len(shape), scope)
    axes = (axis,) if scope.opset >= 13 else tuple(range(axis, len(shape)))
    kind = Softmax if node.op_type == "Softmax" else LogSoftmax
    scope.nonlinear(kind(axes), [node.input[0]], shape, node.output[0])


@IMPORTERS.register("BatchNormalization")
def import_batch_normalization(node: NodeProto, scope: Scope) -> None:
    """``scale (x − mean)/√(var + ε) + shift`` per channel, at inference."""
    options = Attributes(node, scope)
    if options.integer("training_mode", 0) or any(node.output[k] for k in range(1, len(node.output))):
        raise scope.refuse("is in training mode", "export the model with model.eval()")
    if not options.integer("spatial", 1):
        raise scope.refuse("normalises each position by itself (spatial=0)")
    gain, shift, mean, variance = (
        scope.constant(name, role)
        for name, role in zip(node.input[1:5], ("scale", "bias", "mean", "variance"), strict=True)
    )
    rank = len(scope.shape(node.input[0]))
    inside = ball.add(variance, ball.exact(options.number("epsilon", 1e-5)))
    if not bool((inside.middle - inside.spread > 0.0).all()):
        raise scope.refuse("has a variance that is not positive")
    rate = ball.divide(gain, ball.square_root(inside))
    offset = ball.subtract(shift, ball.multiply(mean, rate))
    rate = Constant(rate.value, rate.radius, gain.sources)
    offset = Constant(offset.value, offset.radius, shift.sources)
    scaled = scale(node.input[0], _per_channel(rate, rank), scope, None)
    scope.shift(_per_channel(offset, rank), scaled, node.output[0])


def _per_channel(constant: Constant, rank: int) -> Constant:
    return constant.reshaped(lambda array: array.reshape(-1, *(1,) * (rank - 2)))


@IMPORTERS.register("LayerNormalization")
def import_layer_normalization(node: NodeProto, scope: Scope) -> None:
    """Over all axes from the given one on."""
    if optional_output(node, 1) or optional_output(node, 2):
        raise scope.refuse("returns its statistics, which are not supported")
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    first = normal_axis(options.integer("axis", -1), len(shape), scope)
    axes = tuple(range(first, len(shape)))
    centred = scope.linear(Centring(shape, axes), node.input[0])
    _divide_and_scale(node, scope, centred, axes, options.number("epsilon", 1e-5))


@IMPORTERS.register("RMSNormalization")
def import_rms_normalization(node: NodeProto, scope: Scope) -> None:
    """Layer normalisation without centring."""
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    first = normal_axis(options.integer("axis", -1), len(shape), scope)
    axes = tuple(range(first, len(shape)))
    _divide_and_scale(node, scope, node.input[0], axes, options.number("epsilon", 1e-5))


def _divide_and_scale(
    node: NodeProto, scope: Scope, source: str, axes: tuple[int, ...], epsilon: float
) -> None:
    has_shift = bool(optional(node, 2))
    gain = scope.constant(node.input[1], "scale")
    shape = scope.shape(source)
    divided = scope.nonlinear(RootMeanSquare(axes, epsilon), [source], shape)
    scaled = scale(divided, gain, scope, None if has_shift else node.output[0])
    if has_shift:
        scope.shift(scope.constant(node.input[2], "bias"), scaled, node.output[0])


@IMPORTERS.register("InstanceNormalization")
def import_instance_normalization(node: NodeProto, scope: Scope) -> None:
    """Each channel over its positions."""
    shape = scope.shape(node.input[0])
    axes = tuple(range(2, len(shape)))
    epsilon = Attributes(node, scope).number("epsilon", 1e-5)
    _normalise_groups(node, scope, shape, axes, epsilon)


def _normalise_groups(
    node: NodeProto, scope: Scope, shape: tuple[int, ...], axes: tuple[int, ...], epsilon: float
) -> None:
    centred = scope.linear(Centring(shape, axes), node.input[0])
    divided = scope.nonlinear(RootMeanSquare(axes, epsilon), [centred], shape)
    gain = _per_channel(scope.constant(node.input[1], "scale"), len(shape))
    scaled = scale(divided, gain, scope, None)
    shift = _per_channel(scope.constant(node.input[2], "bias"), len(shape))
    scope.shift(shift, scaled, node.output[0])


@IMPORTERS.register("GroupNormalization")
def import_group_normalization(node: NodeProto, scope: Scope) -> None:
    """Groups of channels over their positions."""
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    groups = options.integer("num_groups", 1)
    if groups < 1 or shape[1] % groups:
        raise scope.refuse(f"{shape[1]} channels do not divide into {groups} groups")
    grouped = (shape[0], groups, math.prod(shape[1:]) // groups)
    flat = scope.reshape(node.input[0], grouped)
    centred = scope.linear(Centring(grouped, (2,)), flat)
    divided = scope.nonlinear(
        RootMeanSquare((2,), options.number("epsilon", 1e-5)), [centred], grouped
    )
    back = scope.reshape(divided, shape)
    gain, shift = (scope.constant(node.input[k], role) for k, role in ((1, "scale"), (2, "bias")))
    if gain.value.size == groups != shape[1]:
        gain, shift = (
            c.reshaped(lambda array: np.repeat(array, shape[1] // groups)) for c in (gain, shift)
        )
    scaled = scale(back, _per_channel(gain, len(shape)), scope, None)
    scope.shift(_per_channel(shift, len(shape)), scaled, node.output[0])


@IMPORTERS.register("MeanVarianceNormalization")
def import_mean_variance_normalization(node: NodeProto, scope: Scope) -> None:
    """Centring and division by the standard deviation plus 1e-9."""
    shape = scope.shape(node.input[0])
    axes = Attributes(node, scope).integers("axes", (0, 2, 3))
    axes = tuple(normal_axis(axis, len(shape), scope) for axis in axes)
    centred = scope.linear(Centring(shape, axes), node.input[0])
    scope.nonlinear(RootMeanSquare(axes, 0.0), [centred], shape, node.output[0])
