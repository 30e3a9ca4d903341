"""Models made to exhaust or mislead whoever reads them, through the command line, under limits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

HUGE = 1 << 40
Node = onnx.NodeProto
node = helper.make_node


def graph_of(nodes, held=(), shape=(1, 4), inputs=("x",)) -> onnx.GraphProto:
    value = helper.make_tensor_value_info
    return helper.make_graph(
        nodes, "g", [value(name, TensorProto.FLOAT, shape) for name in inputs],
        [value("y", TensorProto.FLOAT, None)], list(held),
    )  # fmt: skip


def model(nodes, held=(), shape=(1, 4), opset=17, inputs=("x",)) -> bytes:
    made = helper.make_model(
        graph_of(nodes, held, shape, inputs),
        opset_imports=[helper.make_opsetid("", opset)], ir_version=8,
    )  # fmt: skip
    return made.SerializeToString()


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def floats(name: str, *shape: int, value: float = 1.0) -> TensorProto:
    return numpy_helper.from_array(np.full(shape, value, dtype=np.float32), name)


def declared(dims: tuple[int, ...], content: bytes = b"") -> TensorProto:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=content)


def added(tensor: TensorProto) -> bytes:
    return model([node("Add", ["x", "w"], ["y"])], [tensor])


def resized(kind: str, *operands: TensorProto, shape=(1, 4), **attributes) -> bytes:
    """A signal made larger than anything."""
    names = ["x", *(o.name if o.name != "none" else "" for o in operands)]
    held = [o for o in operands if o.name != "none"]
    return model([node(kind, names, ["y"], **attributes)], held, shape)


def computed(kind: str, *operands: TensorProto, **attributes) -> bytes:
    """A constant made larger than anything, added to the signal."""
    names = [operand.name for operand in operands]
    nodes = [node(kind, names, ["k"], **attributes), node("Add", ["x", "k"], ["y"])]
    return model(nodes, operands)


def chain(count: int) -> bytes:
    """Rectifiers one behind the other, written by hand: libraries take their time."""
    names = [b"x", *(b"v%d" % k for k in range(count - 1)), b"y"]
    nodes = bytearray()
    for a, b in itertools.pairwise(names):
        held = b"\x0a%c%b\x12%c%b\x22\x04Relu" % (len(a), a, len(b), b)
        nodes += b"\x0a%c" % len(held) + held
    graph = bytes(nodes) + graph_of([]).SerializeToString()
    return b"\x08\x08\x3a" + varint(len(graph)) + graph + b"\x42\x04\x0a\x00\x10\x11"


def doubled(kind: str, count: int) -> bytes:
    """A constant that each node makes twice as large."""
    names = ["w", *(f"v{k}" for k in range(count))]
    nodes = [node(kind, [a, a], [b], axis=0) for a, b in zip(names, names[1:], strict=False)]
    return model([*nodes, node("Add", ["x", names[-1]], ["y"])], [floats("w", 1, 4)])


def nested(levels: int) -> bytes:
    """Graphs in attributes of nodes in graphs, written by hand: no library nests as deep."""
    heads: list[bytes] = []
    size = 0
    for level in range(3 * levels + 1):  # attribute of node of g of attribute of …
        head = bytes([(0x2A, 0x0A, 0x32)[level % 3]]) + varint(size)
        heads.append(head)
        size += len(head)
    inner = b"".join(reversed(heads))
    graph = bytes([0x0A]) + varint(len(inner)) + inner + graph_of([]).SerializeToString()
    return b"\x08\x08" + b"\x3a" + varint(len(graph)) + graph + b"\x42\x04\x0a\x00\x10\x11"


def branches(levels: int) -> bytes:
    """The same as deep as the library goes."""
    graph = onnx.GraphProto(name="g")
    graph.node.add(op_type="Identity", input=["x"], output=["y"])
    for _ in range(levels):
        outer = onnx.GraphProto(name="g")
        made = outer.node.add(op_type="If", input=["x"], output=["y"])
        made.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=graph)
        graph = outer
    return model(graph.node)


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def with_functions(width: int, depth: int) -> bytes:
    """Functions that call one another: width^depth nodes once they are written out."""
    made = onnx.ModelProto()
    made.ParseFromString(model([node("F0", ["x"], ["y"], domain="f")]))
    made.opset_import.append(helper.make_opsetid("f", 1))
    for level in range(depth):
        last = level == depth - 1
        called = ("Relu", "") if last else (f"F{level + 1}", "f")
        names = ["a", *(f"a{k}" for k in range(width - 1)), "b"]
        body = [
            node(called[0], [i], [o], domain=called[1])
            for i, o in zip(names, names[1:], strict=False)
        ]
        made.functions.append(
            helper.make_function("f", f"F{level}", ["a"], ["b"], body, list(made.opset_import))
        )
    return made.SerializeToString()


LOOP = [node("Loop", ["m", "t", "x"], ["y"], body=graph_of([node("Relu", ["x"], ["y"])]))]
SCAN = [node("Scan", ["x"], ["y"], body=graph_of([node("Relu", ["x"], ["y"])]), num_scan_inputs=1)]
CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    # sizes that are declared
    "huge dims with little data": (lambda: added(declared((HUGE, 4), bytes(16))), "declares the"),
    "negative dims": (lambda: added(declared((-4, 4), bytes(64))), "declares the shape (-4, 4)"),
    "two negative dims": (lambda: added(declared((-2, -2), bytes(16))), "declares the shape"),
    "product that overflows": (lambda: added(declared((1 << 32, 1 << 32))), "declares the shape"),
    "product that wraps to 4": (
        lambda: added(declared((1 << 62, 4, 4), bytes(16))), "declares the shape"),
    "many dims": (lambda: added(declared((2,) * 5000, bytes(16))), "declares the shape"),
    "many dims of one": (lambda: added(declared((1,) * 5000, bytes(4))), "cannot be read"),
    "huge input": (lambda: model([node("Relu", ["x"], ["y"])], shape=(1, HUGE)), "declares the"),
    "input of many dims": (
        lambda: model([node("Relu", ["x"], ["y"])], shape=(1, *[2] * 70)), "declares the shape"),
    # sizes that are computed
    "constant of 10^12": (
        lambda: computed("ConstantOfShape", ints("s", 10**6, 10**6)), "elements"),
    "constant of a negative shape": (
        lambda: computed("ConstantOfShape", ints("s", -1, -(10**12))), "do not fit"),
    "expanded constant": (lambda: computed("Expand", floats("w", 4), ints("s", HUGE, 4)), "elements"),
    "tiled constant": (lambda: computed("Tile", floats("w", 4), ints("s", HUGE)), "elements"),
    "padded constant": (lambda: computed("Pad", floats("w", 4), ints("s", HUGE, HUGE)), "elements"),
    "one-hot constant": (
        lambda: computed("OneHot", ints("i", 0), ints("d", HUGE), floats("v", 2)), "elements"),
    "range": (
        lambda: computed("Range", *(numpy_helper.from_array(np.float32(v), n)
                                    for n, v in (("a", 0), ("b", 1e30), ("c", 1e-30)))),
        "elements"),
    "outer product": (
        lambda: computed("MatMul", floats("a", 1 << 16, 1), floats("b", 1, 1 << 16)), "elements"),
    "doubled constant": (lambda: doubled("Concat", 60), "too many computed constants"),
    "expanded signal": (lambda: resized("Expand", ints("s", HUGE, 4)), "elements"),
    "tiled signal": (lambda: resized("Tile", ints("s", HUGE, HUGE)), "elements"),
    "tiled signal by less than nothing": (lambda: resized("Tile", ints("s", -HUGE, 1)), "fit"),
    "padded signal": (lambda: resized("Pad", ints("s", 0, HUGE, 0, HUGE)), "elements"),
    "padded signal by an attribute": (
        lambda: model([node("Pad", ["x"], ["y"], pads=[0, HUGE, 0, HUGE])], opset=9), "elements"),
    "resized signal": (
        lambda: resized("Resize", declared_none(), floats("s", 4, value=1e9), shape=(1, 1, 4, 4)),
        "elements"),
    "resized signal to sizes": (
        lambda: resized("Resize", declared_none(), declared_none(), ints("s", 1, 1, HUGE, HUGE),
                        shape=(1, 1, 4, 4)), "elements"),
    "reshaped signal": (lambda: resized("Reshape", ints("s", HUGE, HUGE)), "reshape"),
    "reshaped signal, two left open": (lambda: resized("Reshape", ints("s", -1, -1)), "reshape"),
    "wide padding of a convolution": (
        lambda: model([node("Conv", ["x", "w"], ["y"], pads=[HUGE] * 4)],
                      [floats("w", 1, 1, 1, 1)], (1, 1, 4, 4)), "elements"),
    "dilated convolution": (
        lambda: model([node("Conv", ["x", "w"], ["y"], dilations=[HUGE] * 2)],
                      [floats("w", 1, 1, 3, 3)], (1, 1, 4, 4)), ""),
    "transposed convolution with strides": (
        lambda: model([node("ConvTranspose", ["x", "w"], ["y"], strides=[HUGE] * 2)],
                      [floats("w", 1, 1, 3, 3)], (1, 1, 4, 4)), "elements"),
    "pool of a huge window": (
        lambda: model([node("MaxPool", ["x"], ["y"], kernel_shape=[HUGE] * 2,
                            pads=[HUGE - 4] * 4)], shape=(1, 1, 4, 4)), ""),
    "deep blocks": (
        lambda: resized("DepthToSpace", shape=(1, 4, 2, 2), blocksize=HUGE), ""),
    "split into nothing": (
        lambda: model([node("Split", ["x", "s"], ["y", "z"], axis=1)],
                      [ints("s", HUGE, 4 - HUGE)]), "cannot split"),
    # indices
    "gathered elements far outside": (
        lambda: resized("GatherElements", ints2("i", [[HUGE] * 4])), "do not fit axis 0"),
    "gathered slices far outside": (lambda: resized("GatherND", ints2("i", [[HUGE]])), "do not fit"),
    "scattered far outside": (
        lambda: computed("ScatterND", floats("d", 4), ints2("i", [[-HUGE]]), floats("u", 1)),
        "do not fit"),
    # structure
    "nested 40000 deep": (lambda: nested(40_000), "is not an ONNX model"),
    "nested as deep as is parsed": (lambda: branches(30), "subgraph"),
    "a million nodes": (lambda: chain(1_000_000), "has 1000000 nodes"),
    "functions of 10^12 nodes": (lambda: with_functions(10, 12), "nodes once its functions"),
    "a cycle": (
        lambda: model([node("Add", ["x", "a"], ["b"]), node("Relu", ["b"], ["a"]),
                       node("Relu", ["a"], ["y"])]), "cycle"),
    "its own input": (lambda: model([node("Add", ["x", "y"], ["y"])]), "cycle"),
    "a name twice": (
        lambda: model([node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["y"])]), "again"),
    "the input's name again": (lambda: model([node("Relu", ["x"], ["x"])]), "again"),
    "loop": (lambda: model(LOOP, [ints("m", HUGE), floats("t", 1)]), "subgraph"),
    "scan": (lambda: model(SCAN), "subgraph"),
    "no nodes": (lambda: model([]), "nothing defines"),
    "no graph": (lambda: onnx.ModelProto(ir_version=8).SerializeToString(), "holds no ONNX graph"),
    "no opset": (lambda: without_opset(), "operator set"),
    "opset of the far future": (lambda: model([node("Relu", ["x"], ["y"])], opset=HUGE), "operator"),
    "opset below zero": (lambda: model([node("Relu", ["x"], ["y"])], opset=-3), "operator set -3"),
    # texts and numbers
    "a name of 10^8 bytes": (
        lambda: model([node("N" * 10**8, ["x"], ["y"])]), "longer than 100000 characters"),
    "names of 10^5 characters": (
        lambda: model([node("Relu", ["é" * 10**5], ["y"], name="b" * 10**5)]), "nothing defines"),
    "names of 10^7 bytes": (
        lambda: model([node("Relu", ["a" * 10**7], ["y"], name="b" * 10**7)]), "longer than"),
    "names that move the cursor": (
        lambda: model([node("Relu", ["\x1b[2J\n\r"], ["y"], name="\x1b]0;x\x07")]), "nothing"),
    "an attribute named badly": (
        lambda: model([node("Relu", ["x"], ["y"], **{"\n\x1b[1A": 1})]), "unknown or repeated"),
    "a weight that is not a number": (
        lambda: added(floats("w", 1, 4, value=float("nan"))), "NaN"),
    "an infinite weight": (lambda: added(floats("w", 1, 4, value=float("inf"))), "inf"),
    "text for weights": (
        lambda: added(numpy_helper.from_array(np.array([b"a" * 1000] * 4, dtype=object), "w")), ""),
}  # fmt: skip


def declared_none() -> TensorProto:
    """An operand that is left out."""
    return TensorProto(name="none")


def ints2(name: str, values: list[list[int]]) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def without_opset() -> bytes:
    made = onnx.ModelProto()
    made.ParseFromString(model([node("Relu", ["x"], ["y"])]))
    del made.opset_import[:]
    return made.SerializeToString()


@pytest.mark.parametrize("case", CASES)
def test_refused_in_one_sentence(refusal, tmp_path: Path, case: str):
    made, fragment = CASES[case]
    (tmp_path / "m.onnx").write_bytes(made())
    assert fragment in refusal("load", "m.onnx")
    assert fragment in refusal("inspect", "m.onnx")
