"""A model of one operator with random attributes, and the table of their makers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = (7, 9, 11, 13, 17, 20)


@dataclass
class Single:
    """One node with one signal ``x`` among its inputs.

    Parameters
    ----------
    shape : of the signal.
    inputs : the node's inputs in order: "x", "" for one left out, or a constant.
    attributes : of the node.
    outputs : how many there are; ``chosen`` is the one to look at.
    before, after : nodes around it, from "x0" to "x" and from "y" to "y1".
    low, high : range of the signal's elements.
    refused : a part of the message when the importer must refuse it.
    reference : whether ONNX's reference evaluator is asked, as ONNX Runtime has no kernel.
    """

    shape: tuple[int, ...]
    inputs: list[Any] = field(default_factory=lambda: ["x"])
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    chosen: int = 0
    before: list[onnx.NodeProto] = field(default_factory=list)
    after: list[onnx.NodeProto] = field(default_factory=list)
    low: float = -3.0
    high: float = 3.0
    refused: str = ""
    reference: bool = False
    infinite: bool = False


Maker = Callable[[np.random.Generator, int], Single]

MAKERS: dict[str, list[Maker]] = {}
"""For each operator, makers of models at an operator-set version."""


def makes(*names: str, since: int = 7, until: int = 99) -> Callable[[Callable[..., Single]], Maker]:
    """Enter a maker for operators; it is asked from opset ``since`` to ``until``."""

    def enter(maker: Callable[..., Single]) -> Maker:
        for name in names:

            def make(rng: np.random.Generator, opset: int, name: str = name) -> Single:
                if not since <= opset <= until:
                    raise LookupError(name)
                return maker(rng, opset, name)

            MAKERS.setdefault(name, []).append(make)
        return maker

    return enter


def exists(op_type: str, opset: int) -> bool:
    """Whether the operator is in that version of the standard set."""
    try:
        return not onnx.defs.get_schema(op_type, opset, "").deprecated
    except onnx.defs.SchemaError:
        return False


def model_of(op_type: str, opset: int, single: Single, rng: np.random.Generator) -> onnx.ModelProto:
    """The model; each constant is an initialiser or a Constant node, at random."""
    nodes, initialisers, names = list(single.before), [], []
    for position, operand in enumerate(single.inputs):
        if isinstance(operand, str):
            names.append(operand)
            continue
        tensor = numpy_helper.from_array(np.asarray(operand), f"c{position}")
        names.append(tensor.name)
        if rng.random() < 0.5:
            initialisers.append(tensor)
        else:
            nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    outputs = [f"o{k}" for k in range(single.outputs)]
    outputs[single.chosen] = "y"
    nodes.append(helper.make_node(op_type, names, outputs, name="tested", **single.attributes))
    nodes += single.after
    first = "x0" if single.before else "x"
    last = "y1" if single.after else "y"
    graph = helper.make_graph(
        nodes,
        "single",
        [helper.make_tensor_value_info(first, TensorProto.FLOAT, single.shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        initialisers,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4 if opset < 13 else 8
    )


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random float32 numbers."""
    return rng.standard_normal(shape).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    """A vector of int64."""
    return np.array(values, dtype=np.int64)


def sizes(rng: np.random.Generator, rank: int, low: int = 1, high: int = 5) -> tuple[int, ...]:
    """A random shape."""
    return tuple(int(n) for n in rng.integers(low, high + 1, rank))


def any_axis(rng: np.random.Generator, rank: int) -> int:
    """An axis, counted from either end."""
    return int(rng.integers(-rank, rank))


def some_axes(rng: np.random.Generator, rank: int) -> list[int]:
    """One or more axes, each counted from either end."""
    count = int(rng.integers(1, rank + 1))
    axes = rng.permutation(rank)[:count]
    return [int(a - rank if rng.random() < 0.5 else a) for a in axes]


def shuffled(rng: np.random.Generator, *items: Any) -> list[Any]:
    """The items in random order."""
    return [items[k] for k in rng.permutation(len(items))]
