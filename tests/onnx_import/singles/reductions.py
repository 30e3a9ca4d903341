"""Sums, means, extremes and norms over axes, and sorting."""

from __future__ import annotations

import numpy as np

from .single import Single, any_axis, integers, makes, some_axes

INFINITE = ("ReduceSumSquare", "ReduceLogSum", "ReduceProd")
AXES_AS_INPUT = {"ReduceSum": 13}


@makes(
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceLogSum",
    "ReduceSumSquare",
    "ReduceProd",
)
def reduction(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape = tuple(int(n) for n in rng.integers(1, 5, 3))
    axes = some_axes(rng, 3)
    if opset < 11:
        axes = [axis % 3 for axis in axes]
    attributes = {} if rng.random() < 0.3 else {"keepdims": int(rng.integers(2))}
    inputs: list = ["x"]
    if rng.random() < 0.8:
        if opset >= AXES_AS_INPUT.get(name, 18):
            inputs.append(integers(*axes))
        else:
            attributes["axes"] = axes
    elif opset >= AXES_AS_INPUT.get(name, 18) and name in ("ReduceSum", "ReduceMean", "ReduceMax"):
        attributes["noop_with_empty_axes"] = int(rng.integers(2))
    return Single(
        shape,
        inputs,
        attributes,
        low=0.2 if name == "ReduceLogSum" else -3.0,
        infinite=name in INFINITE,
    )


@makes("TopK")
def top_k(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape = (3, 4, 5)
    axis = any_axis(rng, 3)
    count = int(rng.integers(1, shape[axis] + 1))
    attributes = {"axis": axis}
    if opset >= 11 and rng.random() < 0.6:
        attributes["largest"] = int(rng.integers(2))
    if opset < 10:
        return Single(shape, ["x"], {**attributes, "k": count}, outputs=2)
    return Single(shape, ["x", integers(count)], attributes, outputs=2)


@makes("TopK", since=11)
def unsorted(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((5,), ["x", integers(2)], {"sorted": 0}, outputs=2, refused="no defined order")


@makes("TopK", since=10)
def indices(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((5,), ["x", integers(2)], outputs=2, chosen=1, refused="not supported")
