"""Gathering and scattering at constant indices: as ONNX's reference does, and within the axis."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from lipcert_test_builders import int64, model, op, refused, weights
from onnx import helper
from onnx.reference import ReferenceEvaluator

from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.folding import fold
from lipcert.onnx_import.scope import Scope

RNG = np.random.default_rng(5)


def folded(kind: str, *operands: np.ndarray, **attributes: int) -> np.ndarray:
    names = [f"c{k}" for k in range(len(operands))]
    node = helper.make_node(kind, names, ["y"], **attributes)
    constants = {
        name: Constant(held.astype(np.float64) if held.dtype.kind == "f" else held)
        for name, held in zip(names, operands, strict=True)
    }
    return np.asarray(fold(node, Scope(17, constants))[0].value)


def reference(kind: str, *operands: np.ndarray, **attributes: int) -> np.ndarray:
    names = [f"c{k}" for k in range(len(operands))]
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(o.dtype), o.shape)
        for n, o in zip(names, operands, strict=True)
    ]
    node = helper.make_node(kind, names, ["y"], **attributes)
    out = [helper.make_tensor_value_info("y", 1, None)]
    proto = helper.make_model(
        helper.make_graph([node], "g", values, out),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return ReferenceEvaluator(proto).run(None, dict(zip(names, operands, strict=True)))[0]


def indices(shape: tuple[int, ...], length: int) -> np.ndarray:
    return RNG.integers(-length, length, shape)


@pytest.mark.parametrize("axis", [-3, -1, 0, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_elements(axis: int, count: int):
    data = weights(3, 4, 5)
    shape = list(data.shape)
    shape[axis] = count
    places = indices(tuple(shape), data.shape[axis])
    expected = reference("GatherElements", data, places, axis=axis % 3)
    np.testing.assert_array_equal(folded("GatherElements", data, places, axis=axis), expected)
    if count == 1:  # several updates of one place are in no order
        updates = weights(*shape)
        expected = reference("ScatterElements", data, places, updates, axis=axis)
        found = folded("ScatterElements", data, places, updates, axis=axis)
        np.testing.assert_array_equal(found, expected)


def test_elements_of_more_than_thirty_two_rows():
    """Where the reference implementation reads other elements than ONNX says."""
    data, places = weights(40, 1), np.zeros((40, 1), np.int64)
    found = folded("GatherElements", data, places, axis=0)
    np.testing.assert_array_equal(found, np.full((40, 1), data[0, 0]))


def test_elements_at_fewer_places_than_there_are():
    data = weights(3, 4)
    places = np.array([[2, 0], [1, 1]])
    expected = [[data[2, 0], data[0, 1]], [data[1, 0], data[1, 1]]]
    np.testing.assert_array_equal(folded("GatherElements", data, places, axis=0), expected)


@pytest.mark.parametrize(("depth", "batch"), list(itertools.product([1, 2], [0, 1])))
def test_slices(depth: int, batch: int):
    data = weights(3, 4, 5)
    lengths = data.shape[batch : batch + depth]
    front = (3, 2) if batch else (2, 6)
    places = np.stack([indices(front, length) for length in lengths], axis=-1)
    expected = reference("GatherND", data, places, batch_dims=batch)
    np.testing.assert_array_equal(folded("GatherND", data, places, batch_dims=batch), expected)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_scattered_slices(depth: int):
    data = weights(3, 4, 5)
    places = np.array([[2, -1, 0], [0, 3, -5]])[:, :depth]
    updates = weights(2, *data.shape[depth:])
    expected = reference("ScatterND", data, places, updates)
    np.testing.assert_array_equal(folded("ScatterND", data, places, updates), expected)


FAR = [1 << 40, -(1 << 40), 4, -5]


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("kind", ["GatherElements", "GatherND"])
def test_places_outside(kind: str, far: int):
    held = int64(far)[:, None] if kind == "GatherND" else np.full((4, 1), far)
    node = op(kind, "x", "i")
    assert "do not fit axis" in refused(model([node], [("i", held)], shape=(4, 1))).finding


@pytest.mark.parametrize("far", FAR)
def test_scattered_outside(far: int):
    nodes = [helper.make_node("ScatterND", ["w", "i", "u"], ["k"]), op("Add", "x", "k")]
    held = [("w", weights(4)), ("i", int64(far)[:, None]), ("u", weights(1))]
    assert "do not fit axis" in refused(model(nodes, held)).finding


@pytest.mark.parametrize(
    ("kind", "operands"),
    [
        ("GatherElements", [weights(3, 4), np.zeros(3, np.int64)]),
        ("GatherElements", [weights(3, 4), np.zeros((3, 5), np.int64)]),
        ("GatherElements", [weights(3, 4), np.zeros((3, 4), np.float32)]),
        ("ScatterElements", [weights(3), np.zeros(2, np.int64), weights(3)]),
        ("GatherND", [weights(3, 4), np.zeros((2, 3), np.int64)]),
        ("GatherND", [weights(3, 4), np.array(0)]),
        ("ScatterND", [weights(3, 4), np.zeros((2, 1), np.int64), weights(2, 3)]),
    ],
)
def test_shapes_that_do_not_fit(kind: str, operands: list[np.ndarray]):
    names = [f"c{k}" for k in range(len(operands))]
    nodes = [helper.make_node(kind, names, ["k"], name="tested"), op("Add", "x", "k")]
    assert "'tested'" in refused(model(nodes, zip(names, operands, strict=True))).place
