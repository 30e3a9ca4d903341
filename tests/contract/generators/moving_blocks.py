"""Blocks that move elements: reshapes, slices, padding, concatenation, shortcuts, sharing."""

from __future__ import annotations

import math

import numpy as np

from .table import ANY, SPATIAL, block, branch
from .writer import Value, Writer


@block((1,), exact=True)
def to_image(w: Writer, x: Value) -> Value | None:
    """A vector as channels and positions."""
    divisors = [c for c in range(2, x.size) if x.size % c == 0]
    if not divisors:
        return None
    channels = w.pick(divisors)
    rest = x.size // channels
    side = math.isqrt(rest)
    if side > 1 and side * side == rest:
        return w.reshape(x, (channels, side, side))
    return w.reshape(x, (channels, rest))


@block(SPATIAL, exact=True)
def flatten(w: Writer, x: Value) -> Value | None:
    return w.flat(x) if x.size <= 80 else None


@block(SPATIAL, exact=True)
def permute(w: Writer, x: Value) -> Value:
    return w.transpose(x, w.rng.permutation(len(x.shape)).tolist())


@block((3,), exact=True, keeps_shape=True)
def there_and_back(w: Writer, x: Value) -> Value:
    """Channels last, a scaling of the channels, channels first again."""
    last = w.transpose(x, (1, 2, 0))
    scaled = w.apply("Mul", [last, w.constant(w.weights(x.shape[0]))], last.shape)
    return w.transpose(scaled, (2, 0, 1))


@block(SPATIAL, exact=True, keeps_shape=True)
def squeezed(w: Writer, x: Value) -> Value:
    axis = w.integer(1, len(x.shape) + 1)
    wide = (*x.shape[: axis - 1], 1, *x.shape[axis - 1 :])
    if w.opset >= 13:
        y = w.apply("Unsqueeze", [x, w.integers([axis])], wide)
        return w.apply("Squeeze", [y, w.integers([axis])], x.shape)
    y = w.apply("Unsqueeze", [x], wide, axes=[axis])
    return w.apply("Squeeze", [y], x.shape, axes=[axis])


@block(ANY, exact=True)
def cut(w: Writer, x: Value) -> Value | None:
    axis = w.integer(0, len(x.shape) - 1)
    n = x.shape[axis]
    if n < 3:
        return None
    start, step = w.integer(0, n - 2), w.pick([1, 1, 2])
    if w.chance(0.2):
        return w.slice(x, axis, n - 1, -n - 1, -1)
    return w.slice(x, axis, start, w.pick([n, 10_000, -1]) if start < n - 1 else n, step)


@block(ANY, exact=True)
def gather(w: Writer, x: Value) -> Value:
    """Slices at constant places, some more than once."""
    axis = w.integer(0, len(x.shape) - 1)
    n, count = x.shape[axis], w.integer(1, 5)
    places = w.rng.integers(-n, n, count)
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return w.apply("Gather", [x, w.integers(places.tolist())], shape, axis=axis + 1)


@block((1, 2), exact=True)
def tile(w: Writer, x: Value) -> Value | None:
    if x.size > 24:
        return None
    repeats = [w.integer(1, 2) for _ in x.shape]
    shape = tuple(n * r for n, r in zip(x.shape, repeats, strict=True))
    return w.apply("Tile", [x, w.integers([1, *repeats])], shape)


@block((1,), exact=True)
def expand(w: Writer, x: Value) -> Value | None:
    """Copies on a new axis."""
    if x.size > 16:
        return None
    copies = w.integer(2, 3)
    lined = w.reshape(x, (1, x.size))
    return w.apply("Expand", [lined, w.integers([1, copies, x.size])], (copies, x.size))


@block(ANY, exact=True, weight=2.0)
def pad(w: Writer, x: Value) -> Value | None:
    modes = ["constant", "reflect", "edge"] + (["wrap"] if w.opset >= 19 else [])
    mode = w.pick(modes)
    before, after = [], []
    for n in x.shape:
        most = 2 if mode in ("constant", "edge") else min(2, n - 1)
        moved = w.chance(0.6) and most > 0
        before.append(w.integer(0, most) if moved else 0)
        after.append(w.integer(0, most) if moved else 0)
    shape = tuple(n + b + a for n, b, a in zip(x.shape, before, after, strict=True))
    if math.prod(shape) > 150:
        return None
    inputs: list[Value | str] = [x, w.integers([0, *before, 0, *after])]
    if mode == "constant" and w.chance(0.4):
        inputs.append(w.constant(np.float32(w.pick([0.0, 0.5, -1.0]))))
    return w.apply("Pad", inputs, shape, mode=mode)


@block((2, 3), exact=True, weight=2.0)
def circular_convolution(w: Writer, x: Value) -> Value | None:
    """Circular padding, by slices and Concat or by Pad, in front of a convolution."""
    channels, *spatial = x.shape
    if min(spatial) < 2:
        return None
    kernel = [w.integer(1, 3) for _ in spatial]
    padded = x
    for axis, (n, k) in enumerate(zip(spatial, kernel, strict=True), start=1):
        before = w.integer(0, min(k - 1, n)) if k > 1 else 0
        after = min(k - 1 - before + w.integer(0, 1), n)
        parts = [w.slice(padded, axis, n - before, n)] if before else []
        parts.append(padded)
        parts += [w.slice(padded, axis, 0, after)] if after else []
        padded = w.concat(parts, axis) if len(parts) > 1 else padded
    stride = [w.pick([1, 1, 2]) for _ in spatial]
    out = [(n - k) // s + 1 for n, k, s in zip(padded.shape[1:], kernel, stride, strict=True)]
    outputs = w.integer(1, 3)
    if min(out) < 1 or outputs * math.prod(out) > 150:
        return None
    weight = w.constant(w.weights(outputs, channels, *kernel, fan=channels * math.prod(kernel)))
    return w.apply("Conv", [padded, weight], (outputs, *out), strides=stride)


@block((3,), exact=True, since=13)
def enlarge(w: Writer, x: Value) -> Value | None:
    """Nearest-neighbour enlargement."""
    c, h, width = x.shape
    if x.size > 40:
        return None
    scales = w.constant(np.asarray([1.0, 1.0, 2.0, 2.0]))
    return w.apply(
        "Resize",
        [x, "", scales],
        (c, 2 * h, 2 * width),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@block((3,), exact=True)
def depth_and_space(w: Writer, x: Value) -> Value | None:
    c, h, width = x.shape
    if c % 4 == 0 and w.chance(0.5):
        return w.apply(
            "DepthToSpace",
            [x],
            (c // 4, 2 * h, 2 * width),
            blocksize=2,
            mode=w.pick(["DCR", "CRD"]),
        )
    if h % 2 == 0 and width % 2 == 0:
        return w.apply("SpaceToDepth", [x], (4 * c, h // 2, width // 2), blocksize=2)
    return None


@block(ANY, exact=True, keeps_shape=True, branches=True)
def masked(w: Writer, x: Value) -> Value:
    """A choice between two signals, or a signal and a number, by a constant mask."""
    mask = w.constant(w.rng.random(x.shape[-1:]) < 0.5, np.bool_)
    other: Value | str = w.constant(w.weights(1)) if w.chance(0.5) else branch(w, x, 1)
    return w.apply("Where", [mask, *w.pick([[x, other], [other, x]])], x.shape)


@block(ANY, exact=True, keeps_shape=True, weight=4.0, branches=True)
def residual(w: Writer, x: Value) -> Value:
    """``x + g(x)``."""
    y = branch(w, x)
    return w.apply("Add", w.pick([[x, y], [y, x]]), x.shape)


@block(ANY, exact=True, keeps_shape=True, weight=2.0, branches=True)
def difference(w: Writer, x: Value) -> Value:
    """``g(x) − h(x)``; now and then of a signal from itself."""
    left = branch(w, x)
    right = left if w.chance(0.1) else x if w.chance(0.5) else branch(w, x)
    return w.apply("Sub", [left, right], x.shape)


@block(ANY, exact=True, keeps_shape=True, branches=True)
def sum_of_three(w: Writer, x: Value) -> Value:
    operands: list[Value | str] = [branch(w, x, 1), x, branch(w, x, 1)]
    if w.chance(0.3):
        operands.append(w.constant(w.weights(1)))
    kind = "Sum" if w.exact or w.chance(0.5) else "Mean"
    return w.apply(kind, operands, x.shape)


@block(ANY, exact=True, weight=3.0, branches=True)
def stacked_branches(w: Writer, x: Value) -> Value | None:
    """Branches side by side, one of them perhaps the signal itself or a constant."""
    if x.size > 48:
        return None
    parts = [branch(w, x), x if w.chance(0.3) else branch(w, x)]
    axis = w.integer(0, len(x.shape) - 1)
    if w.chance(0.2) and len(x.shape) == 1:
        constant = Value(w.constant(w.weights(1, 2)), (2,))
        lined = w.slice(x, 0, 0, 1)
        return w.concat([*parts, lined], 0) if w.chance(0.5) else _with_constant(w, parts, constant)
    return w.concat(parts, axis)


def _with_constant(w: Writer, parts: list[Value], constant: Value) -> Value:
    """A constant row fits a batch of one only, so it is repeated by an empty signal."""
    nothing = w.apply("Mul", [w.slice(parts[0], 0, 0, 1), w.constant(0.0)], (1,))
    filled = w.apply("Add", [nothing, constant.name], constant.shape)
    return w.concat([*parts, filled], 0)


@block(ANY, exact=True, weight=2.0, branches=True)
def taken_apart(w: Writer, x: Value) -> Value | None:
    """Split, one piece changed, put together in another order."""
    axis = w.integer(0, len(x.shape) - 1)
    n = x.shape[axis]
    if n < 2:
        return None
    first = w.integer(1, n - 1)
    left, right = w.pieces(x, axis, [first, n - first])
    left = branch(w, left, 1)
    return w.concat(w.pick([[left, right], [right, left], [right, left, right]]), axis)


@block((2, 3), exact=True, weight=1.5, branches=True)
def shared_twice(w: Writer, x: Value) -> Value:
    """One linear image of the signal read by two branches that meet again."""
    image = branch(w, x, 1)
    left, right = branch(w, image, 1), branch(w, image, 1)
    return w.apply("Add", [left, right], x.shape)
