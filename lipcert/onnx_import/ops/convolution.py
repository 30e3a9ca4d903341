"""Conv, ConvTranspose and average pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from onnx import NodeProto

from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.registry import IMPORTERS
from lipcert.onnx_import.scope import Attributes, Scope
from lipcert.operators import Adjoint, Convolution, Diagonal, Norms, Shape
from lipcert.rounding import UNIT_ROUNDOFF


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window: one number per spatial axis, and the output's size."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    pads_begin: Shape
    pads_end: Shape
    out: Shape


def read_window(node: NodeProto, scope: Scope, spatial: Shape, kernel: Shape | None) -> Window:
    """The window of a Conv or pooling node, auto_pad and ceil_mode resolved on the actual size."""
    options = Attributes(node, scope)
    kernel = options.integers("kernel_shape", kernel or ())
    axes = len(spatial)
    stride = options.integers("strides", (1,) * axes)
    dilation = options.integers("dilations", (1,) * axes)
    pads = options.integers("pads", (0,) * (2 * axes))
    if not 1 <= axes <= 3:
        raise scope.refuse(f"has {axes} spatial axes; one to three are supported")
    if {len(kernel), len(stride), len(dilation)} != {axes} or len(pads) != 2 * axes:
        raise scope.refuse("its kernel, strides, dilations or pads do not fit its input's rank")
    if min(*kernel, *stride, *dilation) < 1:
        raise scope.refuse("its kernel, strides or dilations are not positive")
    if min(pads) < 0:
        raise scope.refuse("has negative pads", "replace them by a Slice or a Pad node")
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    begin, end = list(pads[:axes]), list(pads[axes:])
    mode = options.text("auto_pad", "NOTSET")
    ceil = options.integer("ceil_mode", 0)
    out = []
    for axis, n in enumerate(spatial):
        s = stride[axis]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            total = max(0, (math.ceil(n / s) - 1) * s + reach[axis] - n)
            begin[axis] = total // 2 if mode == "SAME_UPPER" else total - total // 2
            end[axis] = total - begin[axis]
        elif mode == "VALID":
            begin[axis] = end[axis] = 0
        elif mode != "NOTSET":
            raise scope.refuse(f"auto_pad={mode!r} is not known")
        room = n + begin[axis] + end[axis] - reach[axis]
        if room < 0:
            raise scope.refuse(f"its window does not fit an input of size {n} on axis {axis}")
        count = room // s + 1
        if ceil and room % s and count * s < n + begin[axis]:
            count += 1  # a last window that starts inside the input, as PyTorch and ONNX have it
        out.append(count)
        needed = (count - 1) * s + reach[axis] - n - begin[axis]
        end[axis] = max(end[axis], needed) if ceil else end[axis]
    return Window(kernel, stride, dilation, tuple(begin), tuple(end), tuple(out))


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
        operator, node.input[0], node.output[0],
        bias=_channel_bias(node, scope, len(shape)), parameters=weight.sources,
    )


def _channel_bias(node: NodeProto, scope: Scope, rank: int) -> Constant | None:
    if len(node.input) < 3 or not node.input[2]:
        return None
    bias = scope.constant(node.input[2], "bias")
    return bias.reshaped(lambda array: array.reshape(-1, *(1,) * (rank - 2)))


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
        weight.tensor(), spatial, stride=stride, dilation=dilation,
        pads_begin=begin, pads_end=end, groups=groups, lead=shape[0],
        error=weight.matrix_error(),
    )
    if forward.out_shape != shape:
        raise scope.refuse(f"its pads and output size do not lead back to an input of {shape}")
    scope.linear(
        Adjoint(forward), node.input[0], node.output[0],
        bias=_channel_bias(node, scope, len(shape)), parameters=weight.sources,
    )


def _transposed_geometry(
    options: Attributes, scope: Scope, shape: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> tuple[Shape, Shape, Shape]:
    axes = len(shape) - 2
    pads = options.integers("pads", (0,) * (2 * axes))
    extra = options.integers("output_padding", (0,) * axes)
    wanted = options.integers("output_shape", ())
    mode = options.text("auto_pad", "NOTSET")
    if not len(stride) == len(dilation) == len(extra) == axes or len(pads) != 2 * axes:
        raise scope.refuse("its strides, dilations or pads do not fit its input's rank")
    if min(*stride, *dilation) < 1 or min(*pads, *extra) < 0:
        raise scope.refuse("its strides, dilations or pads are out of range")
    spatial, begin, end = [], [], []
    for axis in range(axes):
        reach = (kernel[2 + axis] - 1) * dilation[axis] + 1
        full = (shape[2 + axis] - 1) * stride[axis] + reach + extra[axis]
        first, last = pads[axis], pads[axes + axis]
        if wanted or mode in ("SAME_UPPER", "SAME_LOWER"):
            size = wanted[-axes:][axis] if wanted else shape[2 + axis] * stride[axis]
            total = max(0, full - size)
            first = total // 2 if mode != "SAME_LOWER" else total - total // 2
            last = total - first
            if wanted and mode == "NOTSET":
                first, last = total - total // 2, total // 2
        elif mode == "VALID":
            first = last = 0
        spatial.append(full - first - last)
        begin.append(first)
        end.append(max(0, last - extra[axis]))
    if min(spatial) < 1:
        raise scope.refuse("its pads leave no output")
    return tuple(spatial), tuple(begin), tuple(end)


@IMPORTERS.register("AveragePool")
def import_average_pool(node: NodeProto, scope: Scope) -> None:
    """Mean over windows: the same one-channel convolution on every channel."""
    shape = scope.shape(node.input[0])
    window = read_window(node, scope, shape[2:], None)
    count_pads = bool(Attributes(node, scope).integer("count_include_pad", 0))
    flat = scope.reshape(node.input[0], (shape[0] * shape[1], 1, *shape[2:]))
    size = math.prod(window.kernel)
    divisors = _window_counts(node, scope, shape[2:], window, count_pads=count_pads)
    uniform = bool((divisors == size).all())
    tap = 1.0 / size if uniform else 1.0
    kernel = torch.full((1, 1, *window.kernel), tap, dtype=torch.float64)
    exact = not uniform or size & (size - 1) == 0
    error = 0.0 if exact else UNIT_ROUNDOFF * 1.0000001
    pooled = scope.linear(
        Convolution(
            kernel, shape[2:], stride=window.stride, dilation=window.dilation,
            pads_begin=window.pads_begin, pads_end=window.pads_end, lead=shape[0] * shape[1],
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


def _window_counts(
    node: NodeProto, scope: Scope, spatial: Shape, window: Window, *, count_pads: bool
) -> np.ndarray:
    """How many elements each window averages over (its declared pads included or not)."""
    declared = Attributes(node, scope).integers("pads", ())
    counts = np.ones((), dtype=np.float64)
    for axis, n in enumerate(spatial):
        before = window.pads_begin[axis]
        after = declared[len(spatial) + axis] if declared else window.pads_end[axis]
        low, high = (-before, n + min(after, window.pads_end[axis])) if count_pads else (0, n)
        m = np.arange(window.out[axis])[:, None] * window.stride[axis] - before
        reads = m + np.arange(window.kernel[axis])[None, :] * window.dilation[axis]
        along = ((reads >= low) & (reads < high)).sum(1)
        counts = counts[..., None] * along
    if counts.min() < 1:
        raise scope.refuse("has a window that lies entirely in the padding")
    return counts
