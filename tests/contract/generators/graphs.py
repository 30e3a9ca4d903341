"""Random models: a few random blocks in a row, from a random input to a few outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from . import bent_blocks, linear_blocks, moving_blocks, written_blocks  # noqa: F401  (the table)
from .table import follow
from .writer import Shape, Value, Writer

OPSETS = (11, 13, 17, 20)
MOST_ELEMENTS = 120


@dataclass(frozen=True)
class RandomModel:
    """A model and what it was made of.

    Parameters
    ----------
    exact : whether its slopes can be computed without rounding.
    batch : its declared batch, 1 or a name.
    """

    seed: int
    model: onnx.ModelProto
    sample_shape: Shape
    blocks: tuple[str, ...]
    exact: bool
    batch: int | str

    @property
    def content(self) -> bytes:
        return self.model.SerializeToString()


def random_model(seed: int) -> RandomModel:
    """The model of a seed, always the same one."""
    rng = np.random.default_rng(seed)
    w = Writer(rng, int(rng.choice(OPSETS)), exact=bool(rng.random() < 0.5))
    source = Value("input", _input_shape(w))
    value = source
    for _ in range(w.integer(2, 6)):
        value = follow(w, value)
        if value.size > MOST_ELEMENTS:
            break
    value = _head(w, value)
    batch: int | str = "N" if w.chance(0.6) else 1
    model = w.model(source, value, batch=batch)
    return RandomModel(seed, model, source.shape, tuple(w.blocks), w.exact, batch)


def _input_shape(w: Writer) -> Shape:
    kind = w.integer(0, 9)
    if kind < 4:
        return (w.integer(2, 8),)
    if kind < 6:
        return (w.integer(1, 4), w.integer(3, 9))
    if kind < 9:
        return (w.integer(1, 3), w.integer(3, 6), w.integer(3, 6))
    return (w.integer(1, 2), w.integer(2, 4), w.integer(2, 4), w.integer(2, 3))


def _head(w: Writer, value: Value) -> Value:
    """A few outputs: a matrix on the flattened value, or the value where it is small."""
    if value.size <= 6 and w.chance(0.6):
        return w.flat(value) if w.chance(0.7) else value
    flat = w.flat(value)
    outputs = w.integer(1, 5)
    weight = w.constant(w.weights(outputs, flat.size, fan=flat.size))
    inputs: list[Value | str] = [flat, weight]
    if w.chance(0.5):
        inputs.append(w.constant(w.weights(outputs)))
    y = w.apply("Gemm", inputs, (outputs,), transB=1)
    if not w.exact and w.chance(0.1):
        return w.apply(w.pick(["Softmax", "Sigmoid"]), [y], y.shape)
    return y
