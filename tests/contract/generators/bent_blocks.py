"""Blocks that are not linear: activations, maxima, sorting, pooling, normalisation, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx

from lipcert.nonlinear import ACTIVATIONS

from .linear_blocks import window_of
from .table import ANY, SPATIAL, block, branch
from .writer import Value, Writer

Written = Callable[[Writer, Value], Value]


def _plain(name: str, since: int = 7, **attributes: object) -> tuple[int, Written]:
    return since, lambda w, x: w.apply(name, [x], x.shape, **attributes)


def _gated(name: str, *others: str) -> tuple[int, Written]:
    """``x · g(x)`` written out."""

    def write(w: Writer, x: Value) -> Value:
        gate = x
        for step in (name, *others):
            gate = w.apply(step, [gate], x.shape)
        return w.apply("Mul", w.pick([[x, gate], [gate, x]]), x.shape)

    return 7, write


def _nested(*steps: str) -> tuple[int, Written]:
    """One operator after another."""

    def write(w: Writer, x: Value) -> Value:
        for step in steps:
            x = w.apply(step, [x], x.shape)
        return x

    return 7, write


def _gelu_by_erf(w: Writer, x: Value) -> Value:
    inner = w.apply("Div", [x, w.constant(math.sqrt(2.0))], x.shape)
    erf = w.apply("Erf", [inner], x.shape)
    plus = w.apply("Add", [erf, w.constant(1.0)], x.shape)
    half = w.apply("Mul", [x, w.constant(0.5)], x.shape)
    return w.apply("Mul", [half, plus], x.shape)


def _clip(w: Writer, x: Value) -> Value:
    low, high = w.pick([(-0.5, 0.75), (0.0, 1.0), (-2.0, 2.0)])
    form = w.integer(0, 2)
    if form == 0:
        return w.apply("Clip", [x, w.constant(low), w.constant(high)], x.shape)
    if form == 1:
        return w.apply("Clip", [x, "", w.constant(high)], x.shape)
    lowest = w.apply("Max", [x, w.constant(low)], x.shape)
    return w.apply("Min", [lowest, w.constant(high)], x.shape)


WRITTEN: dict[str, list[tuple[int, Written]]] = {
    "LeakyRelu": [
        _plain("LeakyRelu", alpha=0.25),
        _plain("LeakyRelu", alpha=-0.5),
        _plain("LeakyRelu", alpha=2.0),
    ],
    "Elu": [_plain("Elu", alpha=0.7), _plain("Elu", alpha=1.6)],
    "Celu": [_plain("Celu", 12, alpha=0.6), _plain("Celu", 12, alpha=2.0)],
    "Selu": [_plain("Selu")],
    "Gelu": [(7, _gelu_by_erf), _plain("Gelu", 20)],
    "TanhGelu": [_plain("Gelu", 20, approximate="tanh")],
    "Silu": [_gated("Sigmoid")],
    "LogSigmoid": [_nested("Sigmoid", "Log")],
    "Mish": [_plain("Mish", 18), _gated("Softplus", "Tanh")],
    "HardSigmoid": [_plain("HardSigmoid", alpha=0.25, beta=0.5)],
    "HardSwish": [_plain("HardSwish", 14), _gated("HardSigmoid")],
    "Clip": [(11, _clip)],
    "Shrink": [_plain("Shrink", lambd=0.5, bias=0.5)],
}
"""How an activation of the registry is written in ONNX; any other is the operator of its name."""

PIECEWISE_LINEAR = frozenset({"Relu", "LeakyRelu", "Abs", "Clip", "Shrink", "HardSigmoid"})


def writable(name: str) -> bool:
    """Whether an activation can be put in a model: by the table above or by its own operator."""
    return name in WRITTEN or onnx.defs.has(name)


def _has_operator(name: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(name, opset, "")
    except onnx.defs.SchemaError:
        return False
    return True


def write_activation(w: Writer, x: Value, name: str) -> Value | None:
    """An activation of the registry in one of its written forms."""
    if name in WRITTEN:
        forms = [form for since, form in WRITTEN[name] if w.opset >= since]
    else:
        forms = [_plain(name)[1]] if _has_operator(name, w.opset) else []
    return w.pick(forms)(w, x) if forms else None


@block(ANY, exact=True, keeps_shape=True, weight=10.0)
def activation(w: Writer, x: Value) -> Value | None:
    names = sorted(PIECEWISE_LINEAR if w.exact else set(ACTIVATIONS))
    name = w.pick(names) if w.exact or w.chance(0.6) else "Relu"
    return write_activation(w, x, name)


@block(ANY, exact=True, keeps_shape=True)
def prelu(w: Writer, x: Value) -> Value:
    shapes = [(1,), (x.shape[0], *(1,) * (len(x.shape) - 1)), x.shape[-1:]]
    return w.apply("PRelu", [x, w.constant(w.weights(*w.pick(shapes)))], x.shape)


# --- maxima and sorting ------------------------------------------------------------------------


def _extremes(w: Writer, a: Value, b: Value) -> list[Value]:
    pair = [
        w.apply("Max", w.pick([[a, b], [b, a]]), a.shape),
        w.apply("Min", w.pick([[a, b], [b, a]]), a.shape),
    ]
    return pair if w.chance(0.5) else pair[::-1]


@block(ANY, exact=True, keeps_shape=True, weight=3.0)
def max_min(w: Writer, x: Value) -> Value | None:
    """Pairs along the first axis, sorted: by halves, by every second, or in groups of two."""
    n = x.shape[0]
    if n % 2:
        return None
    form = w.integer(0, 3)
    if form == 0:
        return w.concat(_extremes(w, *w.pieces(x, 0, [n // 2, n // 2])), 0)
    if form == 1:
        return w.concat(_extremes(w, w.slice(x, 0, 0, n, 2), w.slice(x, 0, 1, n, 2)), 0)
    pairs = w.reshape(x, (n // 2, 2, *x.shape[1:]))
    if form == 2:
        both = [w.reduce(kind, pairs, [1], keepdims=True) for kind in ("ReduceMax", "ReduceMin")]
        return w.reshape(w.concat(both, 1), x.shape)
    left, right = w.pieces(pairs, 1, [1, 1])
    return w.reshape(w.concat(_extremes(w, left, right), 1), x.shape)


@block(ANY, exact=True, keeps_shape=True, weight=2.0)
def group_sort(w: Writer, x: Value) -> Value | None:
    """Groups along the first axis, sorted by TopK."""
    n = x.shape[0]
    sizes = [g for g in (2, 3, 4, 5) if n % g == 0]
    if not sizes:
        return None
    size = w.pick(sizes)
    groups = w.reshape(x, (n // size, size, *x.shape[1:]))
    names = w.split(
        "TopK", [groups, w.integers([size])], 2, axis=2, largest=w.integer(0, 1), sorted=1
    )
    return w.reshape(Value(names[0], groups.shape), x.shape)


@block((1, 2), exact=True)
def top_of_group(w: Writer, x: Value) -> Value | None:
    """The first few of a sorted axis."""
    n = x.shape[-1]
    if n < 3:
        return None
    kept = w.integer(1, n - 1)
    names = w.split("TopK", [x, w.integers([kept])], 2, axis=-1, largest=w.integer(0, 1))
    return Value(names[0], (*x.shape[:-1], kept))


@block(SPATIAL, exact=True)
def reduce_extremum(w: Writer, x: Value) -> Value:
    kind = w.pick(["ReduceMax", "ReduceMin"])
    axes = sorted(w.rng.choice(len(x.shape), w.integer(1, 2), replace=False).tolist())
    if kind == "ReduceMin" and w.opset < 18 and len(axes) == len(x.shape):
        axes = axes[:1]
    return _reduced(w, kind, x, axes)


def _reduced(w: Writer, kind: str, x: Value, axes: list[int]) -> Value:
    kept = len(axes) == len(x.shape) or w.chance(0.5)
    y = w.reduce(kind, x, axes, keepdims=kept)
    return y if y.shape else w.reshape(y, (1,))


@block(ANY, exact=True, keeps_shape=True, weight=2.0, branches=True)
def larger_of_branches(w: Writer, x: Value) -> Value:
    """The maximum or minimum of two or three branches, or of a branch and constants."""
    operands: list[Value | str] = [branch(w, x, 1), branch(w, x, 1)]
    if w.chance(0.3):
        operands.append(x)
    if w.chance(0.3):
        operands[1] = w.constant(w.weights(*x.shape[-1:]))
    return w.apply(w.pick(["Max", "Min"]), operands, x.shape)


@block(SPATIAL, exact=True, weight=3.0)
def max_pool(w: Writer, x: Value) -> Value | None:
    window = window_of(w, x.shape[1:], 3, pools=True)
    if window is None or (max(window["dilations"]) > 1 and max(window["pads"]) > 0):
        return None  # a dilated window may lie in the padding altogether
    out = window.pop("out")
    return w.apply("MaxPool", [x], (x.shape[0], *out), **window)


@block(SPATIAL, exact=True, weight=0.5)
def global_max_pool(w: Writer, x: Value) -> Value:
    return w.apply("GlobalMaxPool", [x], (x.shape[0], *(1,) * (len(x.shape) - 1)))


# --- normalisation and softmax -----------------------------------------------------------------


@block(ANY, keeps_shape=True)
def softmax(w: Writer, x: Value) -> Value:
    kind = w.pick(["Softmax", "Softmax", "LogSoftmax"])
    return w.apply(kind, [x], x.shape, axis=w.integer(1, len(x.shape)))


@block((1, 2), keeps_shape=True, since=17)
def layer_norm(w: Writer, x: Value) -> Value | None:
    if x.shape[-1] < 2:
        return None
    operands = [w.weights(x.shape[-1]), w.weights(x.shape[-1])]
    return w.apply(
        "LayerNormalization",
        [x, *(w.constant(array) for array in operands)],
        x.shape,
        axis=-1,
        epsilon=w.pick([1e-5, 0.1]),
    )


@block((1, 2), keeps_shape=True)
def layer_norm_written_out(w: Writer, x: Value) -> Value | None:
    """Centring (or not), division by a root mean square, as older exporters write it."""
    last = len(x.shape) - 1
    if x.shape[-1] < 2:
        return None
    if w.chance(0.7):
        mean = w.reduce("ReduceMean", x, [last], keepdims=True)
        x = w.apply("Sub", [x, mean], x.shape)
    square = w.apply("Pow", [x, w.constant(2.0)], x.shape)
    variance = w.reduce("ReduceMean", square, [last], keepdims=True)
    inside = w.apply("Add", [variance, w.constant(w.pick([1e-5, 0.1]))], variance.shape)
    root = w.apply("Sqrt", [inside], inside.shape)
    y = w.apply("Div", [x, root], x.shape)
    return w.apply("Mul", [y, w.constant(w.weights(x.shape[-1]))], x.shape)


@block(SPATIAL, keeps_shape=True)
def instance_norm(w: Writer, x: Value) -> Value | None:
    if math.prod(x.shape[1:]) < 2:
        return None
    operands = [w.weights(x.shape[0]), w.weights(x.shape[0])]
    return w.apply(
        "InstanceNormalization",
        [x, *(w.constant(array) for array in operands)],
        x.shape,
        epsilon=w.pick([1e-3, 0.1]),
    )


@block((1,), weight=0.15, branches=True)
def product_of_branches(w: Writer, x: Value) -> Value:
    """The product of two signals, which has no finite constant."""
    return w.apply("Mul", [branch(w, x, 1), branch(w, x, 1)], x.shape)


def activation_model(
    name: str, opset: int, rng: np.random.Generator
) -> tuple[Writer, Value, Value] | None:
    """A model of nothing but one activation of the registry."""
    w = Writer(rng, opset, exact=False)
    x = Value("x", (5,))
    y = write_activation(w, x, name)
    return None if y is None else (w, x, y)
