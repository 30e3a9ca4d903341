"""Operations that are linear in a signal."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from .constants import (
    inverse,
    loosened,
    matrix_product,
    multiplied,
    rationals,
    reshaped,
    spread,
)
from .convolution import Convolution
from .exact import CheckError, Weight, weight
from .maps import Dense
from .network import References
from .reader import Importer, Summands
from .wire import Node

MOST_READS = 1 << 26
"""Elements that all windows of a convolution or pool read."""


def matmul(importer: Importer, node: Node) -> None:
    """A signal times a constant matrix; Gemm is ``α A B + β C`` with A a signal of one row."""
    given = node.attributes if node.kind == "Gemm" else {}
    if node.inputs[0] not in importer.signals:
        raise CheckError(f"{node.kind} of a constant and a signal is not covered")
    array, matrix = importer.signals[node.inputs[0]], importer.real(node.inputs[1])
    turned = matrix.mantissa if given.get("transB", 0) else matrix.mantissa.T
    if turned.ndim != 2 or array.shape[-1:] != turned.shape[1:]:
        raise CheckError(f"{node.kind} of {node.outputs[0]!r} does not fit what it reads")
    if node.kind == "Gemm" and (given.get("transA", 0) or array.ndim != 2 or len(array) != 1):
        raise CheckError("Gemm of a transposed signal is not covered")
    if given.get("alpha", 1.0) != 1.0:
        importer.network.computed = importer.network.computed or node.outputs[0]
    own = Weight(np.ascontiguousarray(turned), matrix.exponent, matrix.radius)
    shape, bias = (*array.shape[:-1], len(turned)), None
    if node.kind == "Gemm" and any(node.inputs[2:]):
        bias = spread(multiplied(importer.real(node.inputs[2]), given.get("beta", 1.0)), shape)
    by = Dense(multiplied(own, given.get("alpha", 1.0)), math.prod(array.shape[:-1]))
    importer.affine(node, importer.through(node, array, by), shape, bias)


def add(importer: Importer, node: Node) -> None:
    """Sums and differences of signals, or of a signal and a constant."""
    signs = (1.0, -1.0 if node.kind == "Sub" else 1.0)
    shape = np.broadcast_shapes(*(importer.shape(name) for name in node.inputs))
    sources: Summands = []
    bias = None
    for name, sign in zip(node.inputs, signs, strict=True):
        if name in importer.signals:
            factor = weight(np.array(sign)) if sign < 0.0 else None
            sources += importer.scaled(importer.signals[name], shape, factor)
        else:
            bias = spread(multiplied(importer.real(name), sign), shape)
    importer.affine(node, sources, shape, bias)


def multiply(importer: Importer, node: Node) -> None:
    """A signal times, or divided by, a constant; its negative."""
    first, *rest = node.inputs
    if node.kind == "Neg":
        factor = weight(np.array(-1.0))
    elif node.kind == "Div" and rest[0] not in importer.signals:
        factor = inverse(importer.real(rest[0]))
    elif node.kind == "Mul" and (first in importer.signals) != (rest[0] in importer.signals):
        first, other = (first, rest[0]) if first in importer.signals else (rest[0], first)
        factor = importer.real(other)
    else:
        raise CheckError(f"{node.kind} of two signals is not covered")
    array = importer.signals[first]
    shape = np.broadcast_shapes(array.shape, factor.mantissa.shape)
    importer.affine(node, importer.scaled(array, shape, factor), shape)


def compute(importer: Importer, node: Node) -> None:
    """Products and quotients of constants, exactly but for a bounded remainder."""
    first, second = (importer.real(name) for name in node.inputs)
    out = node.outputs[0]
    importer.network.computed = importer.network.computed or out
    if node.kind == "MatMul":
        importer.reals[out] = matrix_product(first, second)
        return
    if second.mantissa.size != 1:
        raise CheckError(f"{node.kind} of two constant tensors is not covered")
    own = multiplied(first, inverse(second) if node.kind == "Div" else second)
    shape = np.broadcast_shapes(first.mantissa.shape, second.mantissa.shape)
    importer.reals[out] = reshaped(own, shape)


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
    own = loosened(weight(factor.reshape(sides)), off)
    bias = spread(loosened(weight(shift.reshape(sides)), off_shift), array.shape)
    computed = 8, spread(weight(loud.reshape(sides)), array.shape).length
    importer.affine(node, importer.scaled(array, array.shape, own), array.shape, bias, computed)


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
    row = spread(rationals([Fraction(1, count)], (1, 1)), (1, count))
    shape = tuple(1 if a in axes else s for a, s in enumerate(array.shape))
    if node.kind == "ReduceMean" and not node.attributes.get("keepdims", 1):
        shape = tuple(array.shape[a] for a in kept)
    importer.affine(node, importer.through(node, turned, Dense(row, len(turned))), shape)


def convolve(importer: Importer, node: Node) -> None:
    """Conv, and AveragePool as one with a group for each channel."""
    array, given = image(importer, node), node.attributes
    if node.kind == "Conv":
        kernel, groups = importer.real(node.inputs[1]), given.get("group", 1)
    else:
        groups, sides = array.shape[1], tuple(given["kernel_shape"])
        mean = rationals([Fraction(1, math.prod(sides))], (1,) * (len(sides) + 2))
        kernel = spread(mean, (groups, 1, *sides))
    own = window(node, array, kernel, groups)
    if node.kind == "AveragePool" and not own.patches(np.ones((1, 1, *own.spatial))).all():
        raise CheckError("AveragePool with padding is not covered")
    if own.channels[0] != array.shape[1] or len(kernel.mantissa) % groups:
        raise CheckError(f"{node.kind} of {node.outputs[0]!r} does not fit what it reads")
    shape, bias = (1, len(kernel.mantissa), *own.out_spatial), None
    if node.kind == "Conv" and any(node.inputs[2:]):
        sides = (1, -1, *(1,) * len(own.spatial))
        bias = spread(reshaped(importer.real(node.inputs[2]), sides), shape)
    importer.affine(node, importer.through(node, array, own), shape, bias)


def image(importer: Importer, node: Node) -> References:
    """The one image ``(1, channels, *sides)`` that a node reads."""
    array = importer.signals[node.inputs[0]]
    if array.ndim < 3 or len(array) != 1:
        raise CheckError(f"{node.kind} of {node.outputs[0]!r} reads no single image")
    return array


def window(node: Node, array: References, kernel: Weight, groups: int) -> Convolution:
    """The convolution with the strides, dilations and pads of a node."""
    given, spatial, sides = node.attributes, array.shape[2:], kernel.mantissa.shape[2:]
    count, name = len(spatial), repr(node.outputs[0])
    stride = tuple(given.get("strides", (1,) * count))
    dilation = tuple(given.get("dilations", (1,) * count))
    pads = tuple(given.get("pads", (0,) * (2 * count)))
    mode = given.get("auto_pad", "NOTSET")
    if len(sides) != count or min((*stride, *dilation, *sides), default=0) < 1:
        raise CheckError(f"the window of {name} makes no sense")
    if given.get("ceil_mode", 0) or mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise CheckError(f"the window of {name} is not covered")
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, sides, strict=True)]
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        if max(dilation) > 1:  # runtimes differ on what that pads
            raise CheckError(f"the padding of {name} is not covered")
        axes = zip(spatial, stride, reach, strict=True)
        whole = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in axes]
        less, more = [w // 2 for w in whole], [w - w // 2 for w in whole]
        pads = (*less, *more) if mode == "SAME_UPPER" else (*more, *less)
    elif mode == "VALID":
        pads = (0,) * (2 * count)
    if min(pads, default=0) < 0 or len(pads) != 2 * count:
        raise CheckError(f"the padding of {name} is not covered")
    padded = [n + pads[i] + pads[count + i] for i, n in enumerate(spatial)]
    out = tuple((n - r) // s + 1 for n, r, s in zip(padded, reach, stride, strict=True))
    if min(out, default=0) < 1:
        raise CheckError(f"the window of {name} makes no sense")
    if max(math.prod(padded), array.shape[1] * math.prod((*out, *sides))) > MOST_READS:
        raise CheckError(f"the windows of {name} are too many")
    return Convolution(kernel, spatial, out, stride, pads[:count], dilation, groups)
