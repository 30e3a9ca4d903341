"""Operations that are linear in a signal."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from .constants import fraction, inverse, loosened, multiplied, spread
from .exact import CheckError, Weight, weight
from .maps import Convolution, Dense, Map, Scale
from .network import References
from .reader import Importer
from .wire import Node

MOST_READS = 1 << 26
"""Elements that all windows of a convolution or pool read."""


def gemm(importer: Importer, node: Node) -> None:
    """``α A B + β C`` with A a signal of one row."""
    array, given = importer.signals[node.inputs[0]], node.attributes
    matrix = importer.real(node.inputs[1])
    if given.get("transA", 0) or array.ndim != 2 or len(array) != 1:
        raise CheckError("Gemm of a transposed signal is not covered")
    turned = matrix.mantissa if given.get("transB", 0) else matrix.mantissa.T
    if turned.ndim != 2 or turned.shape[1] != array.shape[1]:
        raise CheckError(f"Gemm of {node.outputs[0]!r} does not fit what it reads")
    if given.get("alpha", 1.0) != 1.0:
        importer.network.computed = importer.network.computed or node.outputs[0]
    own = Weight(np.ascontiguousarray(turned), matrix.exponent, matrix.radius)
    own = multiplied(own, given.get("alpha", 1.0))
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = multiplied(importer.real(node.inputs[2]), given.get("beta", 1.0))
        bias = spread(bias, (1, turned.shape[0]))
    source = importer.network.joined(f"{node.outputs[0]}/in", array)
    importer.affine(node, [(source, (Dense(own),))], (1, turned.shape[0]), bias)


def matmul(importer: Importer, node: Node) -> None:
    """A signal times a constant matrix."""
    if node.inputs[0] not in importer.signals:
        raise CheckError("MatMul of a constant and a signal is not covered")
    array, matrix = importer.signals[node.inputs[0]], importer.real(node.inputs[1])
    if matrix.mantissa.ndim != 2 or array.shape[-1] != len(matrix.mantissa):
        raise CheckError("MatMul with a batch of matrices is not covered")
    own = Weight(np.ascontiguousarray(matrix.mantissa.T), matrix.exponent, matrix.radius)
    shape = (*array.shape[:-1], matrix.mantissa.shape[1])
    source = importer.network.joined(f"{node.outputs[0]}/in", array)
    importer.affine(node, [(source, (Dense(own, math.prod(array.shape[:-1])),))], shape)


def add(importer: Importer, node: Node) -> None:
    """Sums and differences of signals, or of a signal and a constant."""
    sign = -1.0 if node.kind == "Sub" else 1.0
    shapes = [
        importer.signals[name].shape
        if name in importer.signals
        else importer.real(name).mantissa.shape
        for name in node.inputs
    ]
    shape = np.broadcast_shapes(*shapes)
    sources: list[tuple[str, tuple[Map, ...]]] = []
    bias = None
    for place, name in enumerate(node.inputs):
        factor = sign if place == 1 else 1.0
        if name in importer.signals:
            flipped: tuple[Map, ...] = ()
            if factor < 0.0:
                flipped = (Scale(weight(np.full(math.prod(shape), factor))),)
            wide = np.broadcast_to(importer.signals[name], shape)
            sources += [(s, (*maps, *flipped)) for s, maps in importer.network.gathers(wide)]
        else:
            bias = spread(multiplied(importer.real(name), factor), shape)
    importer.affine(node, sources, shape, bias)


def multiply(importer: Importer, node: Node) -> None:
    """A signal times, or divided by, a constant."""
    first, second = node.inputs
    if node.kind == "Div" and second not in importer.signals:
        factor = inverse(importer.real(second))
    elif node.kind == "Mul" and (first in importer.signals) != (second in importer.signals):
        first, second = (first, second) if first in importer.signals else (second, first)
        factor = importer.real(second)
    else:
        raise CheckError(f"{node.kind} of two signals is not covered")
    scale(importer, node, importer.signals[first], factor, None)


def scale(
    importer: Importer,
    node: Node,
    array: References,
    factor: Weight,
    bias: Weight | None,
    computed: tuple[int, float | None] = (0, None),
) -> None:
    """A signal times a constant, broadcast."""
    shape = np.broadcast_shapes(array.shape, factor.mantissa.shape)
    own = spread(factor, shape)
    flat = Weight(own.mantissa.reshape(-1), own.exponent, own.radius)
    wide = np.broadcast_to(array, shape)
    sources = [(s, (*maps, Scale(flat))) for s, maps in importer.network.gathers(wide)]
    importer.affine(node, sources, shape, bias, computed)


def negate(importer: Importer, node: Node) -> None:
    """The negative of a signal."""
    scale(importer, node, importer.signals[node.inputs[0]], weight(np.array(-1.0)), None)


def normalise(importer: Importer, node: Node) -> None:
    """BatchNormalization at inference, with what rounding its factors loses."""
    array = importer.signals[node.inputs[0]]
    if node.attributes.get("training_mode", 0) or len(node.outputs) > 1:
        raise CheckError("BatchNormalization in training mode is not covered")
    gamma, beta, mean, variance = (importer.doubles(name) for name in node.inputs[1:5])
    spreads = variance + float(np.float32(node.attributes.get("epsilon", 1e-5)))
    if not (spreads > 0.0).all():
        raise CheckError("BatchNormalization of a variance that is not positive")
    factor = gamma / np.sqrt(spreads)
    shift = beta - mean * factor
    off = np.abs(factor) * 2.0**-49 + 1e-300
    inner = np.array([np.abs(gamma), 1.0 / np.sqrt(spreads), np.abs(factor)])
    tame = ((inner == 0.0) | ((inner > 2.0**-40) & (inner < 2.0**40))).all()
    if not tame or not (np.abs(np.array([beta, mean])) < 2.0**60).all():
        # what underflows on the way could grow again, and what is far off overflow
        importer.network.computed = importer.network.computed or node.outputs[0]
    loud = (np.abs(beta) + np.abs(mean * factor)) * (1.0 + 2.0**-48)
    off_shift = loud * 2.0**-48 + 1e-300
    sides = (1, -1, *(1,) * (array.ndim - 2))
    scale(
        importer,
        node,
        array,
        loosened(weight(factor.reshape(sides)), off),
        spread(loosened(weight(shift.reshape(sides)), off_shift), array.shape),
        (8, spread(weight(loud.reshape(sides)), array.shape).length),
    )


def mean(importer: Importer, node: Node) -> None:
    """Means over axes."""
    array = importer.signals[node.inputs[0]]
    axes = importer.listed(node, 1, "axes")
    if node.kind == "GlobalAveragePool":
        axes = tuple(range(2, array.ndim))
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        raise CheckError("ReduceMean over no axis is not covered")
    axes = tuple(a % array.ndim for a in (axes if axes else range(array.ndim)))
    kept = [a for a in range(array.ndim) if a not in axes]
    count = math.prod(array.shape[a] for a in axes)
    turned = array.transpose(*kept, *axes).reshape(-1, count)
    source = importer.network.joined(f"{node.outputs[0]}/in", turned)
    row = fraction(Fraction(1, count), (1, count))
    shape = tuple(1 if a in axes else s for a, s in enumerate(array.shape))
    if node.kind == "ReduceMean" and not node.attributes.get("keepdims", 1):
        shape = tuple(array.shape[a] for a in kept)
    importer.affine(node, [(source, (Dense(row, len(turned)),))], shape)


def convolve(importer: Importer, node: Node) -> None:
    """Conv, and AveragePool as one with a group for each channel."""
    array, given = image(importer, node), node.attributes
    spatial = array.shape[2:]
    bias = None
    if node.kind == "Conv":
        kernel, groups = importer.real(node.inputs[1]), given.get("group", 1)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = importer.real(node.inputs[2])
    else:
        groups, sides = array.shape[1], tuple(given["kernel_shape"])
        kernel = fraction(Fraction(1, math.prod(sides)), (groups, 1, *sides))
    sides = kernel.mantissa.shape[2:]
    stride, dilation, pads, out_spatial = window_of(node, spatial, sides)
    if math.prod((*out_spatial, *sides)) > MOST_READS:
        raise CheckError(f"the windows of {node.outputs[0]!r} are too many")
    own = Convolution(kernel, spatial, out_spatial, stride, pads, dilation, groups)
    if node.kind == "AveragePool" and (own.taps < 0).any():
        raise CheckError("AveragePool with padding is not covered")
    if own.in_channels != array.shape[1] or kernel.mantissa.shape[0] % groups:
        raise CheckError(f"{node.kind} of {node.outputs[0]!r} does not fit what it reads")
    shape = (1, kernel.mantissa.shape[0], *out_spatial)
    source = importer.network.joined(f"{node.outputs[0]}/in", array)
    if bias is not None:
        sides = (1, -1, *(1,) * len(spatial))
        bias = spread(Weight(bias.mantissa.reshape(sides), bias.exponent, bias.radius), shape)
    importer.affine(node, [(source, (own,))], shape, bias)


def image(importer: Importer, node: Node) -> References:
    """The one image ``(1, channels, *sides)`` that a node reads."""
    array = importer.signals[node.inputs[0]]
    if array.ndim < 3 or len(array) != 1:
        raise CheckError(f"{node.kind} of {node.outputs[0]!r} reads no single image")
    return array


def window_of(
    node: Node, spatial: tuple[int, ...], kernel: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """Strides, dilations, leading pads and output sides of a convolution or pool."""
    given, count = node.attributes, len(spatial)
    stride = tuple(given.get("strides", (1,) * count))
    dilation = tuple(given.get("dilations", (1,) * count))
    pads = tuple(given.get("pads", (0,) * (2 * count)))
    mode = given.get("auto_pad", "NOTSET")
    if len(kernel) != count or min((*stride, *dilation, *kernel), default=0) < 1:
        raise CheckError(f"the window of {node.outputs[0]!r} makes no sense")
    if given.get("ceil_mode", 0) or mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise CheckError(f"the window of {node.outputs[0]!r} is not covered")
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        out = [-(-n // s) for n, s in zip(spatial, stride, strict=True)]
        pairs = zip(out, stride, reach, spatial, strict=True)
        whole = [max(0, (m - 1) * s + r - n) for m, s, r, n in pairs]
        begin = [w // 2 if mode == "SAME_UPPER" else w - w // 2 for w in whole]
        return stride, dilation, tuple(begin), tuple(out)
    if mode == "VALID":
        pads = (0,) * (2 * count)
    if min(pads, default=0) < 0 or len(pads) != 2 * count:
        raise CheckError(f"the padding of {node.outputs[0]!r} is not covered")
    room = [
        n + pads[i] + pads[count + i] - r
        for i, (n, r) in enumerate(zip(spatial, reach, strict=True))
    ]
    if min(room, default=-1) < 0:
        raise CheckError(f"the window of {node.outputs[0]!r} makes no sense")
    return (
        stride,
        dilation,
        pads[:count],
        tuple(r // s + 1 for r, s in zip(room, stride, strict=True)),
    )
