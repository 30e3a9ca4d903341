"""Softmax and normalisation layers, each as centring, division, scaling and shift."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from onnx import NodeProto

from lipcert.nonlinear import LogSoftmax, MaskedSoftmax, RootMeanSquare, Softmax
from lipcert.onnx_import import constants as ball
from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.operands import normal_axis, optional, optional_output
from lipcert.onnx_import.ops.arithmetic import scale
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.operators import Centring, Shape

INFERENCE = "export the model with model.eval()"


@IMPORTERS.register("Softmax", "LogSoftmax")
def import_softmax(node: NodeProto, scope: Scope) -> None:
    """Softmax, over the elements that no mask hides, or its logarithm."""
    name = node.input[0]
    shape, axes = scope.shape(name), softmax_axes(node, scope)
    if name not in scope.masked:
        kind = Softmax if node.op_type == "Softmax" else LogSoftmax
        scope.nonlinear(kind(axes), [name], shape, node.output[0])
        return
    hidden = scope.masked[name].hidden
    if hidden.all(axis=axes).any():
        raise scope.refuse("its mask hides a whole line", "leave an element visible")
    mask = torch.from_numpy(np.array(hidden))
    scope.nonlinear(MaskedSoftmax(axes, mask), [name], shape, node.output[0])


def softmax_axes(node: NodeProto, scope: Scope) -> tuple[int, ...]:
    """One axis; before opset 13 all axes from the given one on."""
    rank = len(scope.shape(node.input[0]))
    new = scope.opset >= 13
    axis = normal_axis(Attributes(node, scope).integer("axis", -1 if new else 1), rank, scope)
    return (axis,) if new else tuple(range(axis, rank))


@IMPORTERS.register("BatchNormalization")
def import_batch_normalization(node: NodeProto, scope: Scope) -> None:
    """``scale (x − mean)/√(var + ε) + shift`` per channel, at inference."""
    options = Attributes(node, scope)
    if options.flag("training_mode", 0) or any(node.output[1:]):
        finding = "is in training mode, where its output depends on the whole batch"
        raise scope.refuse(finding, INFERENCE)
    if not options.flag("spatial", 1):
        raise scope.refuse("normalises each position by itself (spatial=0)", "export it again")
    gain, shift, mean, variance = (
        scope.constant(name, role)
        for name, role in zip(node.input[1:5], ("scale", "bias", "mean", "variance"), strict=True)
    )
    shape = scope.shape(node.input[0])
    inside = ball.add(variance, ball.exact(options.number("epsilon", 1e-5)))
    if not bool((inside.middle - inside.spread > 0.0).all()):
        raise scope.refuse("has a variance that is not positive", "a model with it has no bound")
    # mean and variance are statistics, not parameters: they are no sources
    root = replace(ball.square_root(inside), sources=(), origins=())
    rate = ball.divide(gain, root)
    offset = ball.subtract(shift, ball.multiply(replace(mean, sources=(), origins=()), rate))
    scaled = scale(node.input[0], _per_channel(rate, shape, scope), scope, None)
    scope.shift(_per_channel(offset, shape, scope), scaled, node.output[0])


def _per_channel(constant: Constant, shape: Shape, scope: Scope) -> Constant:
    if len(shape) < 2 or constant.value.shape != shape[1:2]:
        raise scope.refuse(f"parameters of shape {constant.value.shape} do not fit {shape}")
    return constant.reshaped(lambda array: array.reshape(-1, *(1,) * (len(shape) - 2)))


@IMPORTERS.register("LayerNormalization")
def import_layer_normalization(node: NodeProto, scope: Scope) -> None:
    """Over all axes from the given one on."""
    if optional_output(node, 1) or optional_output(node, 2):
        raise scope.refuse("returns its statistics, which are not supported", "export without them")
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
    if scope.common_shape(shape, gain.value.shape) != shape:
        raise scope.refuse(f"a scale of shape {gain.value.shape} does not fit {shape}")
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
    centred = scope.linear(Centring(shape, axes), node.input[0])
    divided = scope.nonlinear(RootMeanSquare(axes, epsilon), [centred], shape)
    gain = _per_channel(scope.constant(node.input[1], "scale"), shape, scope)
    scaled = scale(divided, gain, scope, None)
    shift = _per_channel(scope.constant(node.input[2], "bias"), shape, scope)
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
    scaled = scale(back, _per_channel(gain, shape, scope), scope, None)
    scope.shift(_per_channel(shift, shape, scope), scaled, node.output[0])


@IMPORTERS.register("MeanVarianceNormalization")
def import_mean_variance_normalization(node: NodeProto, scope: Scope) -> None:
    """Centring and division by the standard deviation plus 1e-9, as the operator is defined."""
    shape = scope.shape(node.input[0])
    axes = Attributes(node, scope).integers("axes", (0, 2, 3))
    axes = tuple(normal_axis(axis, len(shape), scope) for axis in axes)
    centred = scope.linear(Centring(shape, axes), node.input[0])
    scope.nonlinear(RootMeanSquare(axes, 0.0, offset=1e-9), [centred], shape, node.output[0])
