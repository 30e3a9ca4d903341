"""Geometry of sliding windows: what Conv and the pooling operators have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.scope import Scope
from lipcert.operators import Shape


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window: one number per spatial axis.

    Parameters
    ----------
    kernel, stride, dilation : of the window.
    pads_begin, pads_end : elements added before and after, those that ceil_mode adds included.
    pads_after : elements added after, without those of ceil_mode.
    out : how many windows there are.
    """

    kernel: Shape
    stride: Shape
    dilation: Shape
    pads_begin: Shape
    pads_after: Shape
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
    mode = options.text("auto_pad", "NOTSET")
    if mode.startswith("SAME") and "Pool" in node.op_type and set(dilation) != {1}:
        raise scope.refuse(
            f"auto_pad={mode!r} of a dilated pool, which ONNX Runtime pads as if it were not",
            "export with explicit pads",
        )
    ceil = bool(options.flag("ceil_mode", 0))
    lines, padded = [], 1
    for axis, n in enumerate(spatial):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        begin, after = pads[axis], pads[axes + axis]
        if mode != "NOTSET":
            begin, after = _automatic(mode, n, reach, stride[axis], scope)
        end, out = _extent(n + begin + after, n + begin, reach, stride[axis], ceil, scope)
        padded *= n + begin + after + end
        scope.allow(max(padded, out * kernel[axis]), "a tensor")
        # a step beyond the end is never taken, a dilation of one tap never seen
        step = min(stride[axis], max(1, n + begin + after + end))
        gap = dilation[axis] if kernel[axis] > 1 else 1
        lines.append((step, gap, begin, after, after + end, out))
    return Window(kernel, *zip(*lines, strict=True))


def _automatic(mode: str, n: int, reach: int, stride: int, scope: Scope) -> tuple[int, int]:
    """Pads before and after one axis for an ``auto_pad`` mode."""
    if mode == "VALID":
        return 0, 0
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise scope.refuse(f"auto_pad={mode!r} is not known")
    total = (math.ceil(n / stride) - 1) * stride + reach - n
    if total < -1:
        raise scope.refuse(
            f"auto_pad={mode!r} with a stride of {stride} beyond its kernel, which runtimes read "
            "differently",
            "export with explicit pads",
        )
    total = max(0, total)
    begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
    return begin, total - begin


def _extent(
    padded: int, filled: int, reach: int, stride: int, ceil: bool, scope: Scope
) -> tuple[int, int]:
    """Elements that ceil_mode adds to an axis, and how many windows fit.

    Parameters
    ----------
    padded : size of the axis with both pads.
    filled : size of the axis with the pads before it.
    reach : size of the window, its dilation included.
    """
    room = padded - reach
    if room < 0:
        raise scope.refuse(f"its window of {reach} does not fit an axis of {padded}, pads included")
    count = room // stride + 1
    if ceil and room % stride and count * stride < filled:
        count += 1  # a last window that starts inside the input, as PyTorch and ONNX have it
    return max(0, (count - 1) * stride + reach - padded) if ceil else 0, count


def inside_counts(
    window: Window, spatial: Shape, *, count_pads: bool = False
) -> NDArray[np.float64]:
    """How many elements each window holds: of the input, or of the input and its pads."""
    counts = np.ones((), dtype=np.float64)
    for axis, n in enumerate(spatial):
        before = window.pads_begin[axis]
        low, high = (-before, n + window.pads_after[axis]) if count_pads else (0, n)
        starts = np.arange(window.out[axis])[:, None] * window.stride[axis] - before
        reads = starts + np.arange(window.kernel[axis])[None, :] * window.dilation[axis]
        counts = counts[..., None] * ((reads >= low) & (reads < high)).sum(1)
    return counts
