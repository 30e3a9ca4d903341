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
    mode = options.text("auto_pad", "NOTSET")
    ceil = bool(options.flag("ceil_mode", 0))
    lines = []
    for axis, n in enumerate(spatial):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        begin, end = pads[axis], pads[axes + axis]
        if mode != "NOTSET":
            begin, end = _automatic(mode, n, reach, stride[axis], scope)
        lines.append(_line(n, reach, stride[axis], begin, end, ceil, axis, scope))
    pads_begin, pads_end, out = zip(*lines, strict=True)
    stride = tuple(  # a step beyond the end is never taken
        min(s, max(1, n + b + e))
        for s, n, b, e in zip(stride, spatial, pads_begin, pads_end, strict=True)
    )
    dilation = tuple(d if k > 1 else 1 for k, d in zip(kernel, dilation, strict=True))
    window = Window(kernel, stride, dilation, pads_begin, pads_end, out)
    padded = np.add(np.add(spatial, window.pads_begin, dtype=object), window.pads_end)
    scope.allow(math.prod(padded), "a tensor")
    scope.allow(max(n * k for n, k in zip(window.out, kernel, strict=True)), "a tensor")
    return window


def _automatic(mode: str, n: int, reach: int, stride: int, scope: Scope) -> tuple[int, int]:
    """Pads before and after one axis for an ``auto_pad`` mode."""
    if mode == "VALID":
        return 0, 0
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise scope.refuse(f"auto_pad={mode!r} is not known")
    total = max(0, (math.ceil(n / stride) - 1) * stride + reach - n)
    begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
    return begin, total - begin


def _line(
    n: int, reach: int, stride: int, begin: int, end: int, ceil: bool, axis: int, scope: Scope
) -> tuple[int, int, int]:
    """Pads before and after one axis, and how many windows fit."""
    room = n + begin + end - reach
    if room < 0:
        raise scope.refuse(f"its window does not fit an input of size {n} on axis {axis}")
    count = room // stride + 1
    if ceil:
        if room % stride and count * stride < n + begin:
            count += 1  # a last window that starts inside the input, as PyTorch and ONNX have it
        end = max(end, (count - 1) * stride + reach - n - begin)
    return begin, end, count


def inside_counts(
    window: Window, spatial: Shape, pads_after: Shape | None = None
) -> NDArray[np.float64]:
    """How many elements each window holds: of the input, or of the input and its declared pads.

    Parameters
    ----------
    window : the geometry.
    spatial : the input's sizes.
    pads_after : the declared pads after each axis, where pads count.
    """
    counts = np.ones((), dtype=np.float64)
    for axis, n in enumerate(spatial):
        before = window.pads_begin[axis]
        low, high = (0, n) if pads_after is None else (-before, n + pads_after[axis])
        starts = np.arange(window.out[axis])[:, None] * window.stride[axis] - before
        reads = starts + np.arange(window.kernel[axis])[None, :] * window.dilation[axis]
        counts = counts[..., None] * ((reads >= low) & (reads < high)).sum(1)
    return counts
