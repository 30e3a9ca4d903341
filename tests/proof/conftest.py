"""Small ONNX models of every kind that the checker covers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Node = onnx.NodeProto
Weights = dict[str, np.ndarray]


class Builder:
    """Nodes in a chain, and their weights, from a seed."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.random = np.random.default_rng(seed)
        self.shape = shape
        self.nodes: list[Node] = []
        self.weights: Weights = {}
        self.last = "x"

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        out = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs) or [self.last], [out], **attributes))
        self.last = out
        return out

    def constant(self, *shape: int, scale: float = 1.0) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = (self.random.normal(size=shape) * scale).astype(np.float32)
        return name

    def dense(self, inner: int, out: int, source: str = "") -> str:
        weight, bias = self.constant(inner, out, scale=inner**-0.5), self.constant(out)
        return self.add("Gemm", source or self.last, weight, bias)

    def conv(self, inner: int, out: int, side: int = 3, groups: int = 1, **options: Any) -> str:
        weight = self.constant(out, inner // groups, side, side, scale=(inner * side) ** -0.5)
        return self.add("Conv", self.last, weight, self.constant(out), group=groups, **options)

    def save(self, path: Path) -> Path:
        entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *self.shape])
        exit_ = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)
        held = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, "small", [entry], [exit_], held)
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
        return path


def activated(kind: str, **attributes: Any) -> Callable[[Builder], None]:
    def build(net: Builder) -> None:
        net.dense(6, 9)
        net.add(kind, **attributes)
        net.dense(9, 8)
        net.add(kind, **attributes)
        net.dense(8, 4)

    return build


def residual(net: Builder) -> None:
    first = net.dense(6, 6)
    net.add("Relu")
    net.dense(6, 6)
    net.add("Add", net.last, first)
    net.add("Relu")
    net.dense(6, 3)


def joined(net: Builder) -> None:
    left = net.dense(6, 4)
    left = net.add("Relu")
    net.dense(6, 5, source="x")
    right = net.add("Tanh")
    net.add("Concat", left, right, axis=1)
    net.dense(9, 3)


def sorted_pairs(net: Builder) -> None:
    value = net.dense(6, 8)
    net.weights["halves"] = np.array([4, 4], dtype=np.int64)
    net.nodes.append(helper.make_node("Split", [value, "halves"], ["low", "high"], axis=1))
    top, bottom = net.add("Max", "low", "high"), net.add("Min", "low", "high")
    net.add("Concat", top, bottom, axis=1)
    net.dense(8, 3)


def strided(net: Builder) -> None:
    net.conv(2, 4, strides=[2, 2], pads=[1, 1, 1, 1])
    net.add("Relu")
    net.conv(4, 6, groups=2, dilations=[1, 1])
    net.add("LeakyRelu", alpha=0.1)
    net.add("Flatten")
    net.dense(24, 3)


def pooled(net: Builder) -> None:
    net.conv(2, 4, pads=[1, 1, 1, 1])
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(4, 4, side=2)
    net.add("Relu")
    net.add("AveragePool", kernel_shape=[2, 2], strides=[1, 1])
    net.add("Flatten")
    net.dense(4, 3)


def softmaxed(net: Builder) -> None:
    net.dense(6, 9)
    net.add("Relu")
    net.dense(9, 4)
    net.add("Softmax", axis=1)


FLAT, IMAGE = (6,), (2, 7, 7)
KINDS: dict[str, tuple[tuple[int, ...], Callable[[Builder], None]]] = {
    "relu": (FLAT, activated("Relu")),
    "leaky": (FLAT, activated("LeakyRelu", alpha=0.2)),
    "sigmoid": (FLAT, activated("Sigmoid")),
    "tanh": (FLAT, activated("Tanh")),
    "abs": (FLAT, activated("Abs")),
    "residual": (FLAT, residual),
    "concat": (FLAT, joined),
    "sort": (FLAT, sorted_pairs),
    "softmax": (FLAT, softmaxed),
    "conv": (IMAGE, strided),
    "pools": ((2, 6, 6), pooled),
}


@pytest.fixture
def small(tmp_path: Path) -> Callable[[str], Path]:
    """``small("conv")``: the file of a model of that kind."""

    def build(kind: str, seed: int = 3) -> Path:
        shape, made = KINDS[kind]
        net = Builder(seed, shape)
        made(net)
        return net.save(tmp_path / f"{kind}.onnx")

    return build


@pytest.fixture
def builder() -> type[Builder]:
    """Makes other models."""
    return Builder
