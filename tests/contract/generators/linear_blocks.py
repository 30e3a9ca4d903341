"""Blocks that are linear: matrices, convolutions, averages, scalings, shifts."""

from __future__ import annotations

import math

import numpy as np

from .table import ANY, SPATIAL, block
from .writer import Shape, Value, Writer


@block((1,), exact=True, weight=3.0)
def gemm(w: Writer, x: Value) -> Value:
    outputs = w.integer(2, 8)
    transposed = w.chance(0.5)
    shape = (outputs, x.size) if transposed else (x.size, outputs)
    inputs: list[Value | str] = [x, w.constant(w.weights(*shape, fan=x.size))]
    attributes: dict[str, object] = {"transB": int(transposed)}
    if w.chance(0.7):
        inputs.append(w.constant(w.weights(outputs)))
        if w.chance(0.2):
            attributes["beta"] = 0.5
    if w.chance(0.2):
        attributes["alpha"] = 2.0 if w.exact else 1.3
    return w.apply("Gemm", inputs, (outputs,), **attributes)


@block((1,), exact=True)
def matmul_and_add(w: Writer, x: Value) -> Value:
    outputs = w.integer(2, 8)
    y = w.apply("MatMul", [x, w.constant(w.weights(x.size, outputs, fan=x.size))], (outputs,))
    return w.apply("Add", [w.constant(w.weights(outputs)), y], (outputs,))


@block((1,), exact=True, keeps_shape=True, weight=2.0)
def square_matmul(w: Writer, x: Value) -> Value:
    return w.apply("MatMul", [x, w.constant(w.weights(x.size, x.size, fan=x.size))], x.shape)


@block((1,), exact=False, keeps_shape=True)
def orthogonal_matmul(w: Writer, x: Value) -> Value:
    q = np.linalg.qr(w.rng.standard_normal((x.size, x.size)))[0]
    return w.apply("MatMul", [x, w.constant(q)], x.shape)


@block((2,), exact=True)
def matmul_from_left(w: Writer, x: Value) -> Value:
    rows = w.integer(1, 5)
    weight = w.constant(w.weights(rows, x.shape[0], fan=x.shape[0]))
    return w.apply("MatMul", [weight, x], (rows, x.shape[1]))


@block((2, 3), exact=True)
def matmul_last_axis(w: Writer, x: Value) -> Value:
    outputs = w.integer(1, 5)
    weight = w.constant(w.weights(x.shape[-1], outputs, fan=x.shape[-1]))
    return w.apply("MatMul", [x, weight], (*x.shape[:-1], outputs))


@block((2,), exact=True, keeps_shape=True)
def matmul_by_stack(w: Writer, x: Value) -> Value:
    """Every row times a matrix of its own."""
    rows, n = x.shape
    lined = w.reshape(x, (rows, 1, n))
    y = w.apply("MatMul", [lined, w.constant(w.weights(rows, n, n, fan=n))], (rows, 1, n))
    return w.reshape(y, x.shape)


@block((2,), exact=True, since=12)
def einsum(w: Writer, x: Value) -> Value:
    outputs = w.integer(1, 5)
    weight = w.constant(w.weights(outputs, x.shape[1], fan=x.shape[1]))
    if w.chance(0.5):
        return w.apply("Einsum", [x, weight], (x.shape[0], outputs), equation="bcl,ol->bco")
    return w.apply("Einsum", [weight, x], (outputs, x.shape[0]), equation="ol,bcl->boc")


def window_of(
    w: Writer, spatial: Shape, most: int, *, pools: bool = False
) -> dict[str, list[int]] | None:
    """A random kernel, stride, dilation and padding whose window fits.

    Where it ``pools``, pads are smaller than the kernel, as ONNX Runtime demands.
    """
    kernel = [w.integer(1, min(most, n + 1)) for n in spatial]
    dilation = [w.integer(1, 2) if w.chance(0.3) else 1 for _ in spatial]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    limits = [min(2, r - 1) for r in (kernel if pools else reach)]
    begin = [w.integer(0, limit) for limit in limits]
    end = [
        w.integer(0, limit) if w.chance(0.5) else b for limit, b in zip(limits, begin, strict=True)
    ]
    rooms = [n + b + e - r for n, b, e, r in zip(spatial, begin, end, reach, strict=True)]
    if min(rooms) < 0:
        return None
    stride = [w.integer(1, 3) if w.chance(0.5) else 1 for _ in spatial]
    return {
        "kernel_shape": kernel,
        "strides": stride,
        "dilations": dilation,
        "pads": begin + end,
        "out": [room // s + 1 for room, s in zip(rooms, stride, strict=True)],
    }


@block(SPATIAL, exact=True, weight=6.0)
def convolution(w: Writer, x: Value) -> Value | None:
    channels, *spatial = x.shape
    window = window_of(w, tuple(spatial), {1: 5, 2: 4, 3: 2}[len(spatial)])
    if window is None:
        return None
    divisors = [g for g in (1, 2, 3, channels) if channels % g == 0]
    groups = w.pick(divisors) if w.chance(0.4) else 1
    outputs = groups * w.integer(1, 3)
    out = window.pop("out")
    if outputs * math.prod(out) > 150:
        return None
    kernel = window["kernel_shape"]
    fan = channels // groups * math.prod(kernel)
    weight = w.weights(outputs, channels // groups, *kernel, fan=fan)
    inputs: list[Value | str] = [x, w.constant(weight)]
    if w.chance(0.6):
        inputs.append(w.constant(w.weights(outputs)))
    attributes: dict[str, object] = dict(window)
    if w.chance(0.3):
        del attributes["kernel_shape"]
    if w.chance(0.2) and max(window["dilations"]) == 1:
        del attributes["pads"], attributes["dilations"]
        attributes["auto_pad"] = w.pick(["SAME_UPPER", "SAME_LOWER"])
        out = [math.ceil(n / s) for n, s in zip(spatial, window["strides"], strict=True)]
        if outputs * math.prod(out) > 150:
            return None
    return w.apply("Conv", inputs, (outputs, *out), group=groups, **attributes)


@block(SPATIAL, exact=True, keeps_shape=True, weight=3.0)
def same_convolution(w: Writer, x: Value) -> Value:
    """An odd kernel that keeps the size."""
    channels, *spatial = x.shape
    groups = channels if w.chance(0.3) else 1
    kernel = [w.pick([1, 3, 3]) for _ in spatial]
    pads = [k // 2 for k in kernel]
    weight = w.weights(channels, channels // groups, *kernel, fan=channels * math.prod(kernel))
    return w.apply("Conv", [x, w.constant(weight)], x.shape, group=groups, pads=pads + pads)


@block(SPATIAL, exact=True, weight=3.0)
def transposed_convolution(w: Writer, x: Value) -> Value | None:
    channels, *spatial = x.shape
    groups = w.pick([g for g in (1, 2, channels) if channels % g == 0]) if w.chance(0.4) else 1
    per_group = w.integer(1, 2)
    kernel = [w.integer(1, 3) for _ in spatial]
    stride = [w.integer(1, 2) for _ in spatial]
    dilation = [w.integer(1, 2) if w.chance(0.3) else 1 for _ in spatial]
    pads, out, extra = [], [], []
    for n, k, s, d in zip(spatial, kernel, stride, dilation, strict=True):
        reach = (k - 1) * d + 1
        begin, end = w.integer(0, min(1, reach - 1)), w.integer(0, min(1, reach - 1))
        padding = w.integer(0, s - 1)
        pads.append((begin, end))
        extra.append(padding)
        out.append((n - 1) * s + reach - begin - end + padding)
    if min(out) < 1 or per_group * groups * math.prod(out) > 150:
        return None
    weight = w.weights(channels, per_group, *kernel, fan=channels * math.prod(kernel))
    inputs: list[Value | str] = [x, w.constant(weight)]
    if w.chance(0.5):
        inputs.append(w.constant(w.weights(per_group * groups)))
    return w.apply(
        "ConvTranspose",
        inputs,
        (per_group * groups, *out),
        group=groups,
        strides=stride,
        dilations=dilation,
        pads=[b for b, _ in pads] + [e for _, e in pads],
        output_padding=extra,
        kernel_shape=kernel,
    )


@block(SPATIAL)
def average_pool(w: Writer, x: Value) -> Value | None:
    window = window_of(w, x.shape[1:], 3, pools=True)
    if window is None or max(window.pop("dilations")) > 1:
        return None
    out = window.pop("out")
    counted = w.chance(0.5)
    return w.apply("AveragePool", [x], (x.shape[0], *out), count_include_pad=int(counted), **window)


@block(SPATIAL)
def global_average_pool(w: Writer, x: Value) -> Value | None:
    if w.chance(0.7):
        return None
    return w.apply("GlobalAveragePool", [x], (x.shape[0], *(1,) * (len(x.shape) - 1)))


@block(SPATIAL)
def reduce_mean(w: Writer, x: Value) -> Value | None:
    axes = sorted(w.rng.choice(len(x.shape), w.integer(1, len(x.shape) - 1), replace=False))
    kept = w.chance(0.5)
    return w.reduce("ReduceMean", x, [int(axis) for axis in axes], keepdims=kept)


@block((2, 3), exact=True)
def reduce_sum(w: Writer, x: Value) -> Value:
    return w.reduce("ReduceSum", x, [w.integer(0, len(x.shape) - 1)], keepdims=w.chance(0.5))


@block(SPATIAL, keeps_shape=True, weight=2.0)
def batch_normalization(w: Writer, x: Value) -> Value:
    channels = x.shape[0]
    variance = np.abs(w.rng.standard_normal(channels)) + 0.05
    operands = [w.weights(channels), w.weights(channels), w.weights(channels), variance]
    return w.apply(
        "BatchNormalization",
        [x, *(w.constant(array) for array in operands)],
        x.shape,
        epsilon=w.pick([1e-5, 1e-3]),
    )


def _per_channel(w: Writer, x: Value) -> np.ndarray:
    """Weights that broadcast: one number, one per channel, one per element of the last axis…"""
    shape: Shape = w.pick(
        [
            (),
            (1,),
            (x.shape[0], *(1,) * (len(x.shape) - 1)),
            x.shape[-1:],
            (1, *x.shape),
        ]
    )
    return w.weights(*shape)


@block(ANY, exact=True, keeps_shape=True, weight=2.0)
def multiply(w: Writer, x: Value) -> Value:
    operands: list[Value | str] = [x, w.constant(_per_channel(w, x))]
    return w.apply("Mul", operands[:: w.pick([1, -1])], x.shape)


@block(ANY, exact=True, keeps_shape=True)
def shift(w: Writer, x: Value) -> Value:
    number = w.constant(_per_channel(w, x))
    if w.chance(0.3):
        return w.apply("Sub", w.pick([[x, number], [number, x]]), x.shape)
    return w.apply("Add", w.pick([[x, number], [number, x]]), x.shape)


@block(ANY, keeps_shape=True)
def divide(w: Writer, x: Value) -> Value:
    divisor = _per_channel(w, x)
    divisor = np.where(np.abs(divisor) < 0.2, np.float32(0.7), divisor)
    return w.apply("Div", [x, w.constant(divisor)], x.shape)


@block(ANY, exact=True, keeps_shape=True, weight=0.5)
def negate(w: Writer, x: Value) -> Value:
    return w.apply("Neg", [x], x.shape)


@block(ANY, exact=True, keeps_shape=True, weight=0.5)
def nothing(w: Writer, x: Value) -> Value:
    return w.apply(w.pick(["Identity", "Dropout"]), [x], x.shape)


@block(ANY, keeps_shape=True)
def centred(w: Writer, x: Value) -> Value:
    """``x − mean(x)``, written out."""
    mean = w.reduce("ReduceMean", x, [w.integer(0, len(x.shape) - 1)], keepdims=True)
    return w.apply("Sub", [x, mean], x.shape)
