"""What other readers take otherwise is not read: bytes, types, axes, windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from making import f32, i64, loaded, model, network, node
from onnx import TensorProto

from lipcert.checker.exact import CheckError
from lipcert.checker.wire import read


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def long(number: int, content: bytes) -> bytes:
    """A field of a message or text."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def unread(content: bytes) -> None:
    with pytest.raises(CheckError):
        network(content)


def run(model: bytes | str, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def declared(name: bytes) -> bytes:
    """A float tensor of shape (1, 2)."""
    shape = long(1, whole(1, 1)) + long(1, whole(1, 2))
    return long(1, name) + long(2, long(1, whole(1, 1) + long(2, shape)))


def bytes_of(node: bytes, *tensors: bytes) -> bytes:
    """A model of one node, byte by byte."""
    held = b"".join(long(5, one) for one in tensors)
    graph = long(1, node) + long(2, b"g") + held + long(11, declared(b"x"))
    graph += long(12, declared(b"y"))
    return whole(1, 8) + long(7, graph) + long(8, whole(2, 17))


def leaky(*more: bytes, kind: int = 1) -> bytes:
    """A rectifier with the slope 1/2 below zero, and more in the attribute."""
    slope = bytes([2 << 3 | 5]) + f32(0.5).tobytes()
    attribute = long(1, b"alpha") + slope + whole(20, kind) + b"".join(more)
    return bytes_of(long(1, b"x") + long(2, b"y") + long(4, b"LeakyRelu") + long(5, attribute))


X = f32([[-1.0, 2.0]])


def test_keys_have_32_bits():
    """A key with bits beyond is cut by ONNX Runtime: the second slope counts there."""
    hidden = varint((2 << 3 | 5) + (1 << 32)) + f32(7.0).tobytes()
    assert run(leaky(), X)[0, 0] == -0.5
    assert run(leaky(hidden), X)[0, 0] == -7.0
    network(leaky())
    unread(leaky(hidden))
    unread(leaky(whole(0, 0)))


def test_types_have_32_bits():
    network(leaky(kind=1))
    for kind in ((1 << 32) + 1, (1 << 32) + 2):
        unread(leaky(kind=kind))


def test_places_of_tensors_have_32_bits(tmp_path: Path):
    """ONNX Runtime cuts 2^32 + 1 to 1: a file beside the model, and not what stands in it."""
    f32([9.0, 9.0]).tofile(tmp_path / "w.bin")
    node = long(1, b"x") + long(1, b"w") + long(2, b"y") + long(4, b"Mul")
    inside = long(9, f32([2.0, 2.0]).tobytes())
    beside = long(13, long(1, b"location") + long(2, b"w.bin"))
    tensor = whole(1, 2) + whole(2, 1) + long(8, b"w") + inside + beside
    path = tmp_path / "model.onnx"
    for place, factor in ((0, 2.0), (1, 9.0), ((1 << 32) + 1, 9.0)):
        content = bytes_of(node, tensor + whole(14, place))
        path.write_bytes(content)
        assert run(str(path), X)[0, 1] == 2.0 * factor
        if place > 1:
            with pytest.raises(CheckError):
                read(content, tmp_path)
        else:
            assert read(content, tmp_path).constants["w"][0] == factor


def retyped(kind: int) -> Callable[[bytes], bytes]:
    def of(content: bytes) -> bytes:
        made = loaded(content)
        for one in (made.graph.input[0], made.graph.output[0]):
            one.type.tensor_type.elem_type = kind
        return bytes(made.SerializeToString())

    return of


def test_whole_and_half_numbers_are_not_taken_for_real_ones():
    """A mean of integers is cut: from (1, 0) to (1, 1) it moves by 1, and not by 1/2."""
    content = model([node("ReduceMean", ["x"], ["y"])], {}, [1, 2])
    cut = retyped(TensorProto.INT32)(content)
    assert [run(cut, np.array([[1, k]], np.int32)).item() for k in (0, 1)] == [0, 1]
    network(retyped(TensorProto.FLOAT)(content))
    network(retyped(TensorProto.DOUBLE)(content))
    for kind in (TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT16, TensorProto.BFLOAT16):
        unread(retyped(kind)(content))
    made = loaded(content)
    made.graph.input[0].ClearField("type")
    unread(made.SerializeToString())


def test_squeezing_no_axis_is_squeezing_all_to_some():
    """ONNX Runtime takes an empty list of axes for none at all: other sums follow."""
    x, table = f32([[[1.0], [2.0], [3.0]]]), f32(np.arange(9.0).reshape(3, 3))
    found = []
    for axes in ([], ["none"]):
        nodes = [node("Squeeze", ["x", *axes], ["s"]), node("Add", ["s", "c"], ["y"])]
        weights = {"c": table, **({"none": i64()} if axes else {})}
        content = model(nodes, weights, [1, 3, 1])
        found.append(run(content, x))
        if axes:
            unread(content)
        else:
            network(content)
    assert (found[0] == found[1]).all()


def test_dilated_windows_do_not_pad_by_themselves():
    """ONNX Runtime pads a dilated window as if it were not."""
    for dilation in (1, 2):
        given = {"kernel_shape": [2, 1], "auto_pad": "SAME_UPPER", "dilations": [dilation, 1]}
        nodes = [node("MaxPool", ["x"], ["m"], **given), node("ReduceMean", ["m"], ["y"])]
        content = model(nodes, {}, [1, 1, 4, 1])
        found = run(content, f32([[[[0.0], [0.0], [0.0], [8.0]]]])).item()
        if dilation == 1:
            assert found == 4.0
            network(content)
        else:
            assert found == f32(8.0 / 3.0)  # of three windows, and not of four
            unread(content)


def test_what_has_no_axes_is_not_split():
    """A division by the number of axes, which is 0, is a refusal like others."""
    nodes = [node("ReduceMean", ["x"], ["m"], keepdims=0), node("Split", ["m"], ["y"])]
    unread(model(nodes, {}, [1, 2]))
