"""Conv, ConvTranspose and average pooling."""

from __future__ import annotations

import math

import torch
from onnx import NodeProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.operands import optional
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Scope
from lipcert.onnx_import.windows import inside_counts, read_window
from lipcert.operators import Adjoint, Convolution, Diagonal, Norms, Shape
from lipcert.rounding import UNIT_ROUNDOFF


@IMPORTERS.register("Conv")
def import_conv(node: NodeProto, scope: Scope) -> None:
    """Zero-padded convolution with a constant kernel."""
    weight = scope.constant(node.input[1], "kernel")
    shape = scope.shape(node.input[0])
    groups = Attributes(node, scope).integer("group", 1)
    channels, value = shape[1] if len(shape) > 1 else 0, weight.value
    if value.ndim != len(shape) or groups < 1 or value.shape[1] * groups != channels:
        raise scope.refuse(f"kernel {value.shape} with {groups} groups does not fit {shape}")
    if value.shape[0] % groups:
        raise scope.refuse(f"{value.shape[0]} output channels do not divide into {groups} groups")
    window = read_window(node, scope, shape[2:], value.shape[2:])
    if window.kernel != value.shape[2:]:
        raise scope.refuse(f"kernel_shape {window.kernel} is not that of its kernel")
    operator = Convolution(
        weight.tensor(),
        shape[2:],
        stride=window.stride,
        dilation=window.dilation,
        pads_begin=window.pads_begin,
        pads_end=window.pads_end,
        groups=groups,
        lead=shape[0],
        error=weight.matrix_error(),
    )
    scope.linear(
        operator,
        node.input[0],
        node.output[0],
        bias=_channel_bias(node, scope, operator.out_shape),
        coefficients=weight,
    )


def _channel_bias(node: NodeProto, scope: Scope, shape: Shape) -> Constant | None:
    if not optional(node, 2):
        return None
    bias = scope.constant(node.input[2], "bias")
    if bias.value.size != shape[1]:
        raise scope.refuse(f"a bias of shape {bias.value.shape} does not fit {shape}")
    return bias.reshaped(lambda array: array.reshape(-1, *(1,) * (len(shape) - 2)))


@IMPORTERS.register("ConvTranspose")
def import_conv_transpose(node: NodeProto, scope: Scope) -> None:
    """The adjoint of a convolution from the output's size to the input's."""
    weight = scope.constant(node.input[1], "kernel")
    shape = scope.shape(node.input[0])
    options = Attributes(node, scope)
    groups = options.integer("group", 1)
    value, axes = weight.value, len(shape) - 2
    if value.ndim != len(shape) or not 1 <= axes <= 3 or value.shape[0] != shape[1]:
        raise scope.refuse(f"kernel {value.shape} does not fit an input of shape {shape}")
    if groups < 1 or value.shape[0] % groups:
        raise scope.refuse(f"{value.shape[0]} input channels do not divide into {groups} groups")
    stride = options.integers("strides", (1,) * axes)
    dilation = options.integers("dilations", (1,) * axes)
    spatial, begin, end = _transposed_geometry(options, scope, shape, value.shape, stride, dilation)
    forward = Convolution(
        weight.tensor(),
        spatial,
        stride=stride,
        dilation=dilation,
        pads_begin=begin,
        pads_end=end,
        groups=groups,
        lead=shape[0],
        error=weight.matrix_error(),
    )
    if forward.out_shape != shape:
        raise scope.refuse(f"its pads and output size do not lead back to an input of {shape}")
    scope.linear(
        Adjoint(forward),
        node.input[0],
        node.output[0],
        bias=_channel_bias(node, scope, forward.in_shape),
        coefficients=weight,
    )


def _transposed_geometry(
    options: Attributes, scope: Scope, shape: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> tuple[Shape, Shape, Shape]:
    """Sizes of the output, and the pads before and after it that lead back to the input."""
    axes = len(shape) - 2
    pads = options.integers("pads", (0,) * (2 * axes))
    extra = options.integers("output_padding", (0,) * axes)
    wanted = options.integers("output_shape", ())
    mode = options.text("auto_pad", "NOTSET")
    if not len(stride) == len(dilation) == len(extra) == axes or len(pads) != 2 * axes:
        raise scope.refuse("its strides, dilations or pads do not fit its input's rank")
    if min(*stride, *dilation) < 1 or min(*pads, *extra) < 0:
        raise scope.refuse("its strides, dilations or pads are out of range")
    if wanted and len(wanted) < axes:
        raise scope.refuse(f"output_shape {wanted} does not fit its input's rank")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise scope.refuse(f"auto_pad={mode!r} is not known")
    spatial, begin, end = [], [], []
    for axis in range(axes):
        reach = (kernel[2 + axis] - 1) * dilation[axis] + 1
        full = (shape[2 + axis] - 1) * stride[axis] + reach + extra[axis]
        if wanted or mode.startswith("SAME"):
            size = wanted[-axes:][axis] if wanted else shape[2 + axis] * stride[axis]
            total = full - size
            if total < 0:
                raise scope.refuse(f"its output of {size} on axis {axis} is more than it fills")
            first = total // 2 if mode == "SAME_UPPER" else total - total // 2
        else:
            first, last = (0, 0) if mode == "VALID" else (pads[axis], pads[axes + axis])
            size, total = full - first - last, first + last
        spatial.append(size)
        begin.append(first)
        end.append(max(0, total - first - extra[axis]))
    if min(spatial) < 1:
        raise scope.refuse("its pads leave no output")
    return tuple(spatial), tuple(begin), tuple(end)


@IMPORTERS.register("AveragePool")
def import_average_pool(node: NodeProto, scope: Scope) -> None:
    """Mean over windows: the same one-channel convolution on every channel."""
    shape = scope.shape(node.input[0])
    window = read_window(node, scope, shape[2:], None)
    count_pads = bool(Attributes(node, scope).flag("count_include_pad", 0))
    flat = scope.reshape(node.input[0], (shape[0] * shape[1], 1, *shape[2:]))
    size = math.prod(window.kernel)
    divisors = inside_counts(window, shape[2:], count_pads=count_pads)
    if divisors.min() < 1:
        raise scope.refuse(
            "has a window that lies entirely in the padding", "pad by less than the kernel"
        )
    uniform = bool((divisors == size).all())
    tap = 1.0 / size if uniform else 1.0
    kernel = torch.full((1, 1, *window.kernel), tap, dtype=torch.float64)
    exact = not uniform or size & (size - 1) == 0
    error = 0.0 if exact else UNIT_ROUNDOFF * 1.0000001
    pooled = scope.linear(
        Convolution(
            kernel,
            shape[2:],
            stride=window.stride,
            dilation=window.dilation,
            pads_begin=window.pads_begin,
            pads_end=window.pads_end,
            lead=shape[0] * shape[1],
            error=Norms(error, error, error),
        ),
        flat,
    )
    if not uniform:
        scale = torch.from_numpy(1.0 / divisors)[None, None]
        error = UNIT_ROUNDOFF
        pooled = scope.linear(
            Diagonal(scale, scope.shape(pooled), Norms(error, error, error)), pooled
        )
    scope.reshape(pooled, (*shape[:2], *window.out), node.output[0])
