"""Operations that are linear in a signal."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeVar

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
from .convolution import Convolution, Transposed
from .exact import CheckError, Weight, weight
from .maps import Dense
from .network import References, Shape
from .reader import Importer, Summands
from .wire import Node

T = TypeVar("T", bound=Convolution)

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
        importer.network.computes(node.outputs[0])
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
    importer.network.computes(out)
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
        importer.network.computes(node.outputs[0])
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
    """Conv and ConvTranspose, and AveragePool as a Conv with a group for each channel."""
    array, given = image(importer, node), node.attributes
    if node.kind == "AveragePool":
        groups, sides = array.shape[1], tuple(given["kernel_shape"])
        mean = rationals([Fraction(1, math.prod(sides))], (1,) * (len(sides) + 2))
        kernel = spread(mean, (groups, 1, *sides))
    else:
        kernel, groups = importer.real(node.inputs[1]), given.get("group", 1)
    made = transposed if node.kind == "ConvTranspose" else window
    own = made(node, array, kernel, groups)
    if node.kind == "AveragePool" and not own.patches(np.ones((1, 1, *own.spatial))).all():
        raise CheckError("AveragePool with padding is not covered")
    if groups < 1 or len(kernel.mantissa) % groups or own.size.x != array.size:
        raise CheckError(f"{node.kind} of {node.outputs[0]!r} does not fit what it reads")
    shape, bias = (1, *own.shape), None
    if node.kind != "AveragePool" and any(node.inputs[2:]):
        held = importer.real(node.inputs[2])
        if held.mantissa.shape != shape[1:2]:
            raise CheckError(f"the bias of {node.outputs[0]!r} is not of its channels")
        bias = spread(reshaped(held, (1, -1, *(1,) * len(shape[2:]))), shape)
    importer.affine(node, importer.through(node, array, own), shape, bias)


def image(importer: Importer, node: Node) -> References:
    """The one image ``(1, channels, *sides)`` that a node reads."""
    array = importer.signals[node.inputs[0]]
    if array.ndim < 3 or len(array) != 1:
        raise CheckError(f"{node.kind} of {node.outputs[0]!r} reads no single image")
    return array


def window(node: Node, array: References, kernel: Weight, groups: int) -> Convolution:
    """The convolution with the strides, dilations and pads of a node."""
    given, spatial, name = node.attributes, array.shape[2:], repr(node.outputs[0])
    stride, dilation, pads, reach = _strides(node, array, kernel)
    mode = given.get("auto_pad", "NOTSET")
    if given.get("ceil_mode", 0) or mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise CheckError(f"the window of {name} is not covered")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        if max(dilation) > 1:  # runtimes differ on what that pads
            raise CheckError(f"the padding of {name} is not covered")
        axes = zip(spatial, stride, reach, strict=True)
        whole = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in axes]
        less, more = [w // 2 for w in whole], [w - w // 2 for w in whole]
        pads = (*less, *more) if mode == "SAME_UPPER" else (*more, *less)
    elif mode == "VALID":
        pads = (0,) * len(pads)
    ends = zip(spatial, pads, pads[len(spatial) :], reach, stride, strict=False)
    out = tuple((n + before + after - r) // s + 1 for n, before, after, r, s in ends)
    own = Convolution(kernel, spatial, out, stride, pads[: len(spatial)], dilation, groups)
    return _sensible(own, name)


def transposed(node: Node, array: References, kernel: Weight, groups: int) -> Transposed:
    """The adjoint of the convolution from what a ConvTranspose makes to the image it reads.

    Each element of the image adds a kernel to a window of the result.  Pads are cut off at both
    ends of that; output_padding is cut off less, or zeros, behind.
    """
    given, name = node.attributes, repr(node.outputs[0])
    stride, dilation, pads, reach = _strides(node, array, kernel)
    extra = tuple(given.get("output_padding", (0,) * len(stride)))
    if given.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in given:
        raise CheckError(f"a size of {name} that sets its pads is not covered")
    if not all(0 <= more < step for more, step in zip(extra, stride, strict=True)):
        raise CheckError(f"the padding of {name} is not covered")
    ends = zip(array.shape[2:], stride, reach, extra, pads, pads[len(stride) :], strict=False)
    out = tuple((n - 1) * s + r + more - before - after for n, s, r, more, before, after in ends)
    own = Transposed(kernel, out, array.shape[2:], stride, pads[: len(out)], dilation, groups)
    return _sensible(own, name)


def _strides(node: Node, array: References, kernel: Weight) -> tuple[Shape, Shape, Shape, Shape]:
    """Strides, dilations, pads before and then after each axis, and how far windows reach."""
    given, sides, name = node.attributes, kernel.mantissa.shape[2:], repr(node.outputs[0])
    count = array.ndim - 2
    stride = tuple(given.get("strides", (1,) * count))
    dilation = tuple(given.get("dilations", (1,) * count))
    pads = tuple(given.get("pads", (0,) * (2 * count)))
    if not len(sides) == len(stride) == len(dilation) == count or min(*stride, *dilation) < 1:
        raise CheckError(f"the window of {name} makes no sense")
    if tuple(given.get("kernel_shape", sides)) != sides or min(sides) < 1:
        raise CheckError(f"the window of {name} makes no sense")
    if min(pads) < 0 or len(pads) != 2 * count:
        raise CheckError(f"the padding of {name} is not covered")
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, sides, strict=True))
    return stride, dilation, pads, reach


def _sensible(own: T, name: str) -> T:
    """A convolution.  Raises CheckError where there is nothing to read or make, or too much."""
    if min(*own.spatial, *own.out_spatial) < 1:
        raise CheckError(f"the window of {name} makes no sense")
    if max(math.prod(own.padded), own.size.held) > MOST_READS:
        raise CheckError(f"the windows of {name} are too many")
    return own
