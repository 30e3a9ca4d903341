"""Blocks as exporters write them out in small steps, and near misses that are something else.

A recogniser that takes one of these for another gives a wrong constant; one that takes none of
them for anything gives an infinite one, which is right but useless.
"""

from __future__ import annotations

import math

import numpy as np

from .table import ANY, block, branch
from .writer import Value, Writer


def _number(w: Writer, *choices: float) -> float:
    return float(np.float32(w.pick(choices)))


def _times(w: Writer, x: Value, factor: float) -> Value:
    if factor == 1.0 and w.chance(0.7):
        return x
    if w.chance(0.5):
        return w.apply("Mul", w.pick([[x, w.constant(factor)], [w.constant(factor), x]]), x.shape)
    return w.apply("Div", [x, w.constant(np.float32(1.0 / factor))], x.shape)


def _plus(w: Writer, x: Value, number: float) -> Value:
    if number == 0.0:
        return x
    return w.apply("Add", w.pick([[x, w.constant(number)], [w.constant(number), x]]), x.shape)


@block(ANY, keeps_shape=True, weight=0.7)
def gated_by_sigmoid(w: Writer, x: Value) -> Value:
    """``a x · (b sigmoid(c x + d) + e)``: a Silu only where d = e = 0."""
    shift = _number(w, 0.5) if w.chance(0.1) else 0.0
    inner = _plus(w, _times(w, x, _number(w, 1.0, 1.702, -0.5)), shift)
    gate = w.apply("Sigmoid", [inner], x.shape)
    gate = _times(w, gate, _number(w, 1.0, 2.0))
    gate = _plus(w, gate, _number(w, -0.25) if w.chance(0.1) else 0.0)
    line = _times(w, x, _number(w, 1.0, 0.5, -2.0))
    return w.apply("Mul", w.pick([[line, gate], [gate, line]]), x.shape)


@block(ANY, keeps_shape=True, weight=0.7)
def gated_by_erf(w: Writer, x: Value) -> Value:
    """``a x · (p + q erf(c x))`` in any order of the products."""
    rate = _number(w, math.sqrt(0.5), 0.5, 2.0)
    erf = w.apply("Erf", [_times(w, x, rate)], x.shape)
    gate = _plus(w, _times(w, erf, _number(w, 1.0, 0.5)), _number(w, 1.0, 0.5, 0.0, -0.3))
    gain = _number(w, 0.5, 1.0, -1.5)
    if w.chance(0.5):
        return w.apply("Mul", [_times(w, x, gain), gate], x.shape)
    return _times(w, w.apply("Mul", [x, gate], x.shape), gain)


@block(ANY, keeps_shape=True, weight=0.5)
def gated_by_tanh(w: Writer, x: Value) -> Value:
    """Gelu's tanh form, and the same with other rates."""
    cube = w.apply("Pow", [x, w.constant(3.0)], x.shape)
    odd = w.chance(0.15)
    bent = w.apply("Add", [x, _times(w, cube, 0.2 if odd else 0.044715)], x.shape)
    inner = _times(w, bent, 1.5 if odd else math.sqrt(2.0 / math.pi))
    gate = _plus(w, w.apply("Tanh", [inner], x.shape), 1.0)
    return w.apply("Mul", [_times(w, x, 0.5), gate], x.shape)


@block(ANY, keeps_shape=True, weight=0.7)
def gated_by_clip(w: Writer, x: Value) -> Value:
    """``x · clip(a x + b, low, high) / c``: HardSwish and its relatives."""
    inner = _plus(w, _times(w, x, _number(w, 1.0, 0.5, -1.0)), _number(w, 3.0, 1.0, 0.0))
    low, high = w.pick([(0.0, 6.0), (0.0, 1.0), (-1.0, 2.0)])
    gate = w.apply("Clip", [inner, w.constant(low), w.constant(high)], x.shape)
    return _times(w, w.apply("Mul", [x, gate], x.shape), _number(w, 1.0, 1.0 / 6.0))


@block(ANY, keeps_shape=True, weight=0.15, branches=True)
def gated_by_another_signal(w: Writer, x: Value) -> Value:
    """``f(x) · sigmoid(g(x))``: no gate of one signal unless f and g leave it alone."""
    gate = w.apply("Sigmoid", [branch(w, x, 1)], x.shape)
    return w.apply("Mul", [x if w.chance(0.5) else branch(w, x, 1), gate], x.shape)


@block(ANY, keeps_shape=True)
def over_one_plus_its_size(w: Writer, x: Value) -> Value:
    """Softsign written out, with a rate of its own."""
    size = w.apply("Abs", [x], x.shape)
    bottom = _plus(w, _times(w, size, _number(w, 1.0, 0.5, 2.0)), _number(w, 1.0, 1.0, 2.0))
    return w.apply("Div", [_times(w, x, _number(w, 1.0, -0.5)), bottom], x.shape)


@block((1, 2), keeps_shape=True, weight=1.0, branches=True)
def over_its_norm(w: Writer, x: Value) -> Value | None:
    """A signal over its own norm in many forms; now and then over another signal's."""
    last = len(x.shape) - 1
    if x.shape[-1] < 2:
        return None
    own = w.chance(0.85)
    inside = _times(w, x, _number(w, 1.0, 1.0, 0.5)) if own else branch(w, x, 1)
    form = w.integer(0, 3)
    if form == 0:
        norm = w.reduce("ReduceL2", inside, [last], keepdims=True)
        floor = w.constant(_number(w, 1e-2, 0.5))
        bottom = w.apply(w.pick(["Max", "Add"]), [norm, floor], norm.shape)
    else:
        two = w.apply("Pow", [inside, w.constant(2.0)], x.shape)
        square = w.pick([two, w.apply("Mul", [inside, inside], x.shape)])
        kind = w.pick(["ReduceMean", "ReduceSum"])
        total = w.reduce(kind, square, [last], keepdims=True)
        total = _plus(w, _times(w, total, _number(w, 1.0, 1.0, 0.25)), _number(w, 1e-2, 0.3))
        bottom = w.apply("Sqrt", [total], total.shape)
        if form == 2:
            bottom = _plus(w, bottom, _number(w, 0.1, 1e-3))
    if form == 3:
        inverse = w.apply("Reciprocal", [bottom], bottom.shape)
        return w.apply("Mul", w.pick([[x, inverse], [inverse, x]]), x.shape)
    top = x if w.chance(0.7) else _times(w, x, _number(w, -2.0, 0.25))
    return w.apply("Div", [top, bottom], x.shape)


@block(ANY, exact=True, keeps_shape=True, weight=0.7)
def chosen_by_comparison(w: Writer, x: Value) -> Value:
    """Continuous choices: a leaky ReLU, a hinge, a dead zone, an absolute value by its sign."""
    form = w.integer(0, 3)
    if form == 0:
        slope = _number(w, 0.25, -0.5, 2.0)
        above = w.apply("Greater", [x, w.constant(0.0)], x.shape)
        bent = w.apply("Mul", [x, w.constant(slope)], x.shape)
        return w.apply("Where", [above, x, bent], x.shape)
    if form == 1:
        corner = _number(w, 0.5, -1.0)
        below = w.apply("Less", [x, w.constant(corner)], x.shape)
        return w.apply("Where", [below, w.constant(corner), x], x.shape)
    if form == 2:
        sign = w.apply("Sign", [x], x.shape)
        return w.apply("Mul", w.pick([[sign, x], [x, sign]]), x.shape)
    above = w.apply("Greater", [x, w.constant(0.5)], x.shape)
    line = _plus(w, x, -0.5)
    return w.apply("Where", [above, line, w.constant(0.0)], x.shape)


@block((3,), since=13)
def resized_linearly(w: Writer, x: Value) -> Value | None:
    """Bilinear (or nearest) enlargement and reduction."""
    c, _h, _width = x.shape
    target = (w.integer(2, 7), w.integer(2, 7))
    if c * math.prod(target) > 120:
        return None
    mode = w.pick(["linear", "linear", "nearest"])
    return w.apply(
        "Resize",
        [x, "", "", w.integers([1, c, *target])],
        (c, *target),
        mode=mode,
        coordinate_transformation_mode=(
            "asymmetric"
            if mode == "nearest"
            else w.pick(["half_pixel", "align_corners", "asymmetric"])
        ),
        **({"nearest_mode": "floor"} if mode == "nearest" else {}),
    )


@block((3,), keeps_shape=True, since=13)
def normalised_in_groups(w: Writer, x: Value) -> Value | None:
    """Group normalisation as torch exports it: by instance normalisation of a reshaped signal."""
    c = x.shape[0]
    if c % 2 or x.size < 4:
        return None
    grouped = w.reshape(x, (2, x.size // 2))
    operands = [np.ones(2), np.zeros(2)]
    y = w.apply(
        "InstanceNormalization",
        [grouped, *(w.constant(array) for array in operands)],
        grouped.shape,
        epsilon=0.01,
    )
    y = w.reshape(y, x.shape)
    return w.apply("Mul", [y, w.constant(w.weights(c, 1, 1))], x.shape)
