"""Convolutions and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from .single import Single, floats, makes


def window(rng: np.random.Generator, axes: int, *, dilated: bool = True) -> dict[str, Any]:
    """Random kernel, strides, dilations and pads or auto_pad, any of which may be left out."""
    kernel = [int(k) for k in rng.integers(1, 4, axes)]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if rng.random() < 0.7:
        attributes["strides"] = [int(s) for s in rng.integers(1, 4, axes)]
    if dilated and rng.random() < 0.5:
        attributes["dilations"] = [int(d) for d in rng.integers(1, 3, axes)]
    kind = rng.random()
    if kind < 0.4:
        reach = [
            (k - 1) * d
            for k, d in zip(kernel, attributes.get("dilations", [1] * axes), strict=True)
        ]
        pads = [int(rng.integers(0, min(k, r + 1))) for k, r in zip(kernel, reach, strict=True)]
        more = [int(rng.integers(0, min(k, r + 1))) for k, r in zip(kernel, reach, strict=True)]
        attributes["pads"] = [*pads, *more]
    elif kind < 0.6:
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))
        if attributes["auto_pad"].startswith("SAME"):
            attributes.pop("dilations", None)
            attributes["strides"] = [int(rng.integers(1, k + 1)) for k in kernel]
    return attributes


def spatial(rng: np.random.Generator, axes: int) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(5, 9 if axes < 3 else 7, axes))


@makes("Conv")
def conv(rng: np.random.Generator, opset: int, name: str) -> Single:
    axes, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    attributes = window(rng, axes)
    kernel = attributes["kernel_shape"]
    if rng.random() < 0.3:
        del attributes["kernel_shape"]
    if groups > 1:
        attributes["group"] = groups
    weight = floats(rng, 2 * groups, 2, *kernel)
    bias = [floats(rng, 2 * groups)] if rng.random() < 0.6 else []
    return Single((2, 2 * groups, *spatial(rng, axes)), ["x", weight, *bias], attributes)


@makes("ConvTranspose")
def conv_transpose(rng: np.random.Generator, opset: int, name: str) -> Single:
    axes, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    size = tuple(int(n) for n in rng.integers(3, 6, axes))
    kernel = [int(k) for k in rng.integers(2, 4, axes)]
    strides = [int(s) for s in rng.integers(1, 4, axes)]
    dilations = [int(d) for d in rng.integers(1, 3, axes)]
    attributes: dict[str, Any] = {"group": groups, "strides": strides, "dilations": dilations}
    kind = rng.random()
    if kind < 0.4:
        attributes["pads"] = [int(p) for p in rng.integers(0, 2, 2 * axes)]
    elif kind < 0.6:
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        del attributes["dilations"]
        attributes["strides"] = [int(rng.integers(1, k + 1)) for k in kernel]
    elif kind < 0.8:
        full = [
            (n - 1) * s + (k - 1) * d + 1
            for n, s, k, d in zip(size, strides, kernel, dilations, strict=True)
        ]
        cut = rng.integers(0, np.minimum(2, strides) + 1)
        attributes["output_shape"] = [max(1, int(f - c)) for f, c in zip(full, cut, strict=True)]
    if kind < 0.4 and rng.random() < 0.5:
        attributes["output_padding"] = [int(rng.integers(0, s)) for s in strides]
    weight = floats(rng, 2 * groups, 2, *kernel)
    bias = [floats(rng, 2 * groups)] if rng.random() < 0.6 else []
    return Single((1, 2 * groups, *size), ["x", weight, *bias], attributes)


@makes("MaxPool")
def max_pool(rng: np.random.Generator, opset: int, name: str) -> Single:
    axes = int(rng.integers(1, 4))
    attributes = window(rng, axes, dilated=opset >= 10)
    if opset >= 10 and "auto_pad" not in attributes and rng.random() < 0.5:
        attributes["ceil_mode"] = 1
    return Single((2, 2, *spatial(rng, axes)), attributes=attributes)


@makes("AveragePool")
def average_pool(rng: np.random.Generator, opset: int, name: str) -> Single:
    axes = int(rng.integers(1, 4))
    attributes = window(rng, axes, dilated=opset >= 19)
    if opset >= 10 and "auto_pad" not in attributes and rng.random() < 0.5:
        attributes["ceil_mode"] = 1
    if rng.random() < 0.5:
        attributes["count_include_pad"] = 1
    return Single((1, 2, *spatial(rng, axes)), attributes=attributes)


@makes("MaxPool", "AveragePool")
def empty_window(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(
        (1, 1, 3), attributes={"kernel_shape": [2], "pads": [2, 2]}, refused="in the padding"
    )


@makes("MaxPool", since=8)
def pool_indices(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((1, 1, 4), attributes={"kernel_shape": [2]}, outputs=2, chosen=1, refused="used")


@makes("GlobalMaxPool", "GlobalAveragePool")
def global_pool(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((2, 3, *spatial(rng, int(rng.integers(1, 4)))))
