"""Models that ask for absurd amounts of memory or time: refused before either is spent."""

from __future__ import annotations

import time

import numpy as np
import pytest
from lipcert_test_builders import int64, model, op, refused, weights
from onnx import helper

from lipcert.errors import LipcertError
from lipcert.onnx_import import build_graph

HUGE = 1 << 40

BIG = ("big", np.array([1 << 20, 1 << 20], np.int64))
ABSURD = {
    "ConstantOfShape": [helper.make_node("ConstantOfShape", ["big"], ["c"])],
    "Expand": [helper.make_node("Expand", ["one", "big"], ["c"])],
    "Expand by both": [helper.make_node("Expand", ["column", "row"], ["c"])],
    "Tile": [helper.make_node("Tile", ["square", "big"], ["c"])],
    "Range": [helper.make_node("Range", ["zero", "far", "tiny"], ["c"])],
    "Pad": [helper.make_node("Pad", ["square", "pads"], ["c"])],
    "Add": [helper.make_node("Add", ["column", "line"], ["c"])],
    "MatMul": [helper.make_node("MatMul", ["column", "line"], ["c"])],
    "OneHot": [helper.make_node("OneHot", ["indices", "far int", "values"], ["c"])],
    "Gather": [helper.make_node("Gather", ["line", "indices"], ["c"])],
    "doubling": [
        node
        for k in range(40)
        for node in [helper.make_node("Concat", [f"c{k}"] * 2, [f"c{k + 1}"], axis=0)]
    ] + [helper.make_node("Identity", ["c40"], ["c"])],
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
def test_constants_of_absurd_size(name: str):
    column = np.ones((1 << 15, 1), np.float32)
    initialisers = [
        BIG, ("one", np.ones(1, np.float32)), ("column", column), ("line", column.T.copy()),
        ("row", np.array([1, 1 << 30], np.int64)), ("square", np.ones((2, 2), np.float32)),
        ("zero", np.float32(0)), ("far", np.float32(1e30)), ("tiny", np.float32(1e-9)),
        ("pads", np.array([1 << 30] * 4, np.int64)), ("indices", np.zeros(1 << 15, np.int64)),
        ("far int", np.array(1 << 40, np.int64)), ("values", np.array([0, 1], np.float32)),
        ("c0", np.ones(4, np.float32)),
    ]  # fmt: skip
    proto = model([*ABSURD[name], op("Add", "x", "c")], initialisers)
    assert "asks for" in refused(proto, peak=512 << 20).finding


SIGNALS = {
    "Expand": ((1, 4), ["x", int64(1 << 30, 4)], {}),
    "Tile": ((1, 4), ["x", int64(1 << 20, 1 << 20)], {}),
    "Pad": ((1, 4), ["x", int64(0, 1 << 40, 0, 0)], {}),
    "Add": ((1, 64), ["x", np.ones((1 << 21, 1), np.float32)], {}),
    "Gather": ((1, 4), ["x", np.zeros(1 << 25, np.int32)], {}),
    "Resize": ((1, 1, 4, 4), ["x", "", "", int64(1, 1, 1 << 20, 1 << 20)], {}),
    "Upsample": ((1, 1, 4, 4), ["x", np.float32([1, 1, 1e6, 1e6])], {}),
    "MaxPool": (
        (1, 1, 4, 4), ["x"], {"kernel_shape": [1, 1], "pads": [1 << 30] * 4},
    ),
    "Conv": (
        (1, 1, 4), ["x", np.ones((1, 1, 1), np.float32)], {"pads": [1 << 40, 1 << 40]},
    ),
    "ConvTranspose": (
        (1, 1, 4), ["x", np.ones((1, 1, 1), np.float32)], {"strides": [1 << 40]},
    ),
    "CumSum": ((1 << 16,), ["x", np.array(0)], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_of_absurd_size(name: str):
    shape, inputs, attributes = SIGNALS[name]
    initialisers = [
        (f"c{k}", np.asarray(item)) for k, item in enumerate(inputs) if not isinstance(item, str)
    ]
    names = [item if isinstance(item, str) else f"c{k}" for k, item in enumerate(inputs)]
    opset = 9 if name == "Upsample" else 17
    proto = model([op(name, *names, **attributes)], initialisers, shape, opset)
    with pytest.raises(LipcertError) as caught:
        build_graph(proto, name="m")
    assert "'tested'" in caught.value.place and caught.value.remedy


@pytest.mark.parametrize("shape", [(1, HUGE), (1 << 20, 1 << 20), (1, 1 << 14, 1 << 14)])
def test_inputs_of_absurd_size(shape: tuple[int, ...]):
    assert "declares the shape" in refused(model([op("Relu", "x")], shape=shape)).finding


def test_deep_chains_load_in_reasonable_time():
    nodes, value = [], "x"
    for k in range(10_000):
        kind = ("Relu", "Mul", "Add", "Tanh")[k % 4]
        inputs = [value, "w"] if kind in ("Mul", "Add") else [value]
        nodes.append(helper.make_node(kind, inputs, [f"v{k}"]))
        value = f"v{k}"
    twenty = [helper.make_node("Neg", ["w"], ["k0"])]
    twenty += [helper.make_node("Neg", [f"k{k}"], [f"k{k + 1}"]) for k in range(9_999)]
    nodes += [*twenty, op("Add", value, "k9999")]
    start = time.process_time()
    graph = build_graph(model(nodes[::-1], [("w", weights(4))]), name="deep")
    assert len(graph.nodes) == 10_001
    assert time.process_time() - start < 20.0
