"""Files that are missing, broken or absurd: a sentence naming the place, and nothing else."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lipcert.errors import InputError, LipcertError, UnsupportedError
from lipcert.graph import Graph
from lipcert.onnx_import import build_graph, load_graph, parse_model

RNG = np.random.default_rng(2)
HUGE = 1 << 40


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def model(nodes, initialisers=(), shape=(1, 4), opset=17, outputs=("y",), inputs=("x",)):
    """A model of given nodes; initialisers as (name, array) or as tensors."""
    tensors = [
        item if isinstance(item, onnx.TensorProto) else numpy_helper.from_array(item[1], item[0])
        for item in initialisers
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def small_net() -> onnx.ModelProto:
    """A perceptron with a little of everything that exporters write."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Reshape", ["r", "shape"], ["s"], name="pairs"),
        helper.make_node("ReduceMax", ["s"], ["m"], name="max", axes=[2], keepdims=0),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(weights(3, 2))),
        helper.make_node("MatMul", ["m", "k"], ["y"], name="last"),
    ]
    initialisers = [
        ("w", weights(6, 4)), ("b", weights(6)), ("shape", np.array([1, 3, 2], np.int64)),
    ]  # fmt: skip
    return model(nodes, initialisers)


def refused(
    proto: onnx.ModelProto, kind: type[LipcertError] = LipcertError, peak: int = 64 << 20, **options
):
    """The error that a model raises; it names a place and a remedy, and costs little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(kind) as caught:
            build_graph(parse_model(proto.SerializeToString(), "m.onnx"), name="m.onnx", **options)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.place and caught.value.finding and caught.value.remedy
    assert taken < peak
    return caught.value


def op(op_type: str, *inputs: str, **attributes):
    """One node from its inputs to y."""
    return helper.make_node(op_type, list(inputs), ["y"], name="tested", **attributes)


# --- files -------------------------------------------------------------------------------------


def test_missing_file_folder_and_empty_file(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        load_graph(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="is a folder"):
        load_graph(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(InputError, match="is empty"):
        load_graph(tmp_path / "empty.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match="not a regular file"):
        load_graph(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    "content",
    [b"hello, world\n" * 9, b"\x00" * 64, b"PK\x03\x04" + bytes(60), b"\x89PNG\r\n", b"{"],
)
def test_other_files(tmp_path: Path, content: bytes):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_graph(tmp_path / "m.onnx")
    assert "m.onnx" in str(caught.value)


def test_truncated_anywhere():
    """Every proper beginning of a model is refused, or lacks only what comes after its graph."""
    content = small_net().SerializeToString()
    whole = 0
    for length in range(len(content)):
        try:
            build_graph(parse_model(content[:length], "m.onnx"), name="m.onnx")
            whole += 1
        except LipcertError:
            pass
    assert whole == 0


def external(tmp_path: Path, **entries: str) -> Path:
    """A model whose weight lies outside the file, as the entries say."""
    proto = small_net()
    tensor = proto.graph.initializer[0]
    (tmp_path / "w.data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.data"} | entries).items():
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_is_read(tmp_path: Path):
    graph = load_graph(external(tmp_path, offset="0", length="96"))
    x = torch.ones(1, 4, dtype=torch.float64)
    inside = build_graph(small_net(), name="m")
    assert graph.evaluate(x).shape == inside.evaluate(x).shape
    other = tmp_path / "changed"
    other.mkdir()
    changed = external(other, offset="0", length="96")
    (other / "w.data").write_bytes(bytes(96))
    assert load_graph(changed).sha256 != graph.sha256


@pytest.mark.parametrize(
    ("entries", "finding"),
    [
        ({"location": "none.data"}, "is missing"),
        ({"location": "../w.data"}, "outside the model's folder"),
        ({"location": "/etc/passwd"}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"location": "a/../w.data"}, "outside the model's folder"),
        ({"location": "C:\\w.data"}, "unusable location"),
        ({"location": "w\0.data"}, "outside the model's folder"),
        ({"location": "."}, "outside the model's folder"),
        ({"offset": "8"}, "holds 88 bytes"),
        ({"length": "95"}, "holds 95 bytes"),
        ({"offset": "0", "length": "97"}, "needs bytes"),
        ({"offset": "-1"}, "needs bytes"),
        ({"offset": "many"}, "not a number"),
        ({"length": "9" * 5000}, "not a number"),
    ],
)
def test_external_data_that_does_not_fit(tmp_path: Path, entries: dict[str, str], finding: str):
    with pytest.raises(InputError, match=finding) as caught:
        load_graph(external(tmp_path, **entries))
    assert "'w'" in caught.value.place


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "folder", "linked folder"])
def test_external_data_behind_links(tmp_path: Path, kind: str):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(bytes(96))
    inside = tmp_path / "inside"
    inside.mkdir()
    path = external(inside, location="data/secret" if kind == "linked folder" else "link")
    if kind == "symlink":
        (inside / "link").symlink_to(outside / "secret")
    elif kind == "hardlink":
        (inside / "link").hardlink_to(outside / "secret")
    elif kind == "folder":
        (inside / "link").mkdir()
    else:
        (inside / "data").symlink_to(outside)
    with pytest.raises(InputError, match=r"is behind a link|is not a plain file"):
        load_graph(path)


# --- initialisers ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(bad: float):
    value = weights(4, 4)
    value[1, 2] = bad
    error = refused(model([op("MatMul", "x", "w")], [("w", value)]))
    assert "w" in str(error)


def test_infinite_constants_computed_in_the_graph():
    nodes = [helper.make_node("Div", ["w", "z"], ["q"]), op("MatMul", "x", "q")]
    error = refused(model(nodes, [("w", weights(4, 4)), ("z", np.zeros(4, np.float32))]))
    assert "'tested'" in error.place


@pytest.mark.parametrize(
    ("dims", "content"),
    [((4, 4), bytes(60)), ((4, 4), bytes(68)), ((HUGE,), b""), ((HUGE, HUGE), bytes(8)),
     ((-4, 4), b""), ((1 << 62, 4), bytes(64)), ((4, 4), b"")],
)  # fmt: skip
def test_initialisers_that_do_not_fit_their_shape(dims: tuple[int, ...], content: bytes):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=content)
    assert "'w'" in refused(model([op("MatMul", "x", "w")], [tensor]), InputError).place
    constant = helper.make_node("Constant", [], ["w"], name="tested", value=tensor)
    assert "'tested'" in refused(model([constant, op("MatMul", "x", "w")]), InputError).place


@pytest.mark.parametrize("kind", [0, 99, TensorProto.COMPLEX64])
def test_initialisers_of_unusable_type(kind: int):
    tensor = TensorProto(name="w", data_type=kind, dims=(4, 4), raw_data=bytes(128))
    refused(model([op("MatMul", "x", "w")], [tensor]), InputError)


def test_initialiser_defined_twice():
    pair = [("w", weights(4, 4)), ("w", weights(4, 4))]
    assert "twice" in refused(model([op("MatMul", "x", "w")], pair), InputError).finding


# --- sizes -------------------------------------------------------------------------------------

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


def int64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


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


# --- graphs ------------------------------------------------------------------------------------


def test_cycles_repeated_and_undefined_values():
    loop = [
        helper.make_node("Add", ["x", "b"], ["a"], name="one"),
        helper.make_node("Relu", ["a"], ["b"], name="two"),
        op("Relu", "b"),
    ]
    assert "cycle" in refused(model(loop), InputError).finding
    selfish = [helper.make_node("Add", ["x", "y"], ["y"], name="one")]
    assert "'one'" in refused(model(selfish), InputError).finding
    twice = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])]
    assert "again" in refused(model(twice), InputError).finding
    shadow = [helper.make_node("Relu", ["x"], ["w"]), op("Add", "x", "w")]
    assert "again" in refused(model(shadow, [("w", weights(4))]), InputError).finding
    assert "nothing defines" in refused(model([op("Add", "x", "none")])).finding
    assert "nothing defines" in refused(model([op("Relu", "x")], outputs=["z"])).finding


def test_several_inputs_and_outputs():
    two = model([op("Add", "x", "z")], inputs=["x", "z"])
    assert "2 inputs (x, z)" in refused(two, UnsupportedError).finding
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["z"])]
    branches = model(nodes, outputs=["y", "z"])
    assert "2 outputs (y, z)" in refused(branches, UnsupportedError).finding
    assert "no output 'w'" in refused(branches, InputError, output="w").finding
    graph = build_graph(branches, name="m", output="z")
    assert [node.onnx_type for node in graph.nodes] == ["Tanh"]


def test_inputs_that_are_not_real_or_have_no_shape():
    for kind in (TensorProto.INT64, TensorProto.STRING, TensorProto.BFLOAT16, 99):
        proto = model([op("Relu", "x")])
        proto.graph.input[0].type.tensor_type.elem_type = kind
        assert "has type" in refused(proto, UnsupportedError).finding
    proto = model([op("Relu", "x")])
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert "has no shape" in refused(proto, InputError).finding
    assert build_graph(proto, name="m", input_shape=(4,)).input_shape == (1, 4)


def test_dynamic_sizes():
    proto = model([op("Relu", "x")], shape=("n", 3, "height"))
    assert "dynamic sizes on axes 2" in refused(proto, InputError).finding
    graph = build_graph(proto, name="m", input_shape=(3, 5))
    assert graph.sample_shape == (3, 5) and graph.batched
    for wrong in ((2, 5), (3, 5, 1), (3, 0), (3,)):
        refused(proto, InputError, input_shape=wrong)


@pytest.mark.parametrize("opset", [1, 6, 99, 2**40])
def test_operator_sets_that_are_not_read(opset: int):
    assert "operator set" in refused(model([op("Relu", "x")], opset=opset), InputError).finding


def test_models_without_graph_or_operator_set():
    proto = model([op("Relu", "x")])
    del proto.opset_import[:]
    assert "does not say" in refused(proto, InputError).finding
    refused(onnx.ModelProto(ir_version=8), InputError)


def test_unknown_operators_domains_attributes_and_operands():
    assert "not an operator" in refused(model([op("Frobnicate", "x")])).finding
    foreign = model([op("Gelu", "x", domain="com.microsoft")])
    assert "com.microsoft" in refused(foreign).finding
    assert "unknown or repeated" in refused(model([op("Relu", "x", colour="red")])).finding
    assert "2 inputs" in refused(model([op("Relu", "x", "x")])).finding
    assert "can bound" in refused(model([op("NonMaxSuppression", "x", "x")])).finding
    twisted = model([op("MaxPool", "x", kernel_shape=[2], ceil_mode=7)], shape=(1, 1, 4))
    assert "neither 0 nor 1" in refused(twisted).finding
    steep = model([op("LeakyRelu", "x", alpha=float("nan"))])
    assert "alpha" in refused(steep).finding


def test_subgraphs_and_training_mode():
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["b"])],
        "b",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    nodes = [op("If", "flag", then_branch=branch, else_branch=branch)]
    assert "subgraph" in refused(model(nodes, [("flag", np.array(True))])).finding
    one = [(name, np.ones(4, np.float32)) for name in "abcd"]
    for options, opset in (({"training_mode": 1}, 15), ({}, 9)):
        node = helper.make_node(
            "BatchNormalization",
            ["x", "a", "b", "c", "d"],
            ["y", "mean", "variance"],
            name="tested",
            **options,
        )
        assert "training mode" in refused(model([node], one, opset=opset)).finding


def test_functions_that_call_themselves_or_explode():
    def function(name: str, *calls: str):
        values = ["a", *(f"v{k}" for k in range(len(calls) - 1)), "b"]
        nodes = [
            helper.make_node(
                call, [values[k]], [values[k + 1]], domain="own" if call != "Relu" else ""
            )
            for k, call in enumerate(calls)
        ]
        return helper.make_function(
            "own",
            name,
            ["a"],
            ["b"],
            nodes,
            [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        )

    proto = model([op("F0", "x", domain="own")])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    fine = onnx.ModelProto()
    fine.CopyFrom(proto)
    fine.functions.extend([function("F0", "F1", "Relu"), function("F1", "Relu")])
    assert len(build_graph(parse_model(fine.SerializeToString(), "m"), name="m").nodes) == 2
    circle = onnx.ModelProto()
    circle.CopyFrom(proto)
    circle.functions.extend([function("F0", "F1", "Relu"), function("F1", "F0")])
    assert "calls itself" in refused(circle, InputError).finding
    bomb = onnx.ModelProto()
    bomb.CopyFrom(proto)
    bomb.functions.extend(function(f"F{k}", *[f"F{k + 1}"] * 8) for k in range(12))
    bomb.functions.append(function("F12", "Relu"))
    assert "nodes once" in refused(bomb, InputError).finding


def test_names_that_are_not_text():
    content = model([op("Relu", "x")]).SerializeToString().replace(b"tested", b"te\xff\xfeed")
    with pytest.raises(InputError, match="not text"):
        parse_model(content, "m.onnx")


# --- fixed batches -----------------------------------------------------------------------------


def test_fixed_batch_whose_samples_stay_apart():
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"]),
        helper.make_node("Reshape", ["h", "s"], ["r"]),
        helper.make_node("ReduceMax", ["r"], ["m"], axes=[2], keepdims=0),
        helper.make_node("Softmax", ["m"], ["y"], axis=1),
    ]
    proto = model(nodes, [("w", weights(4, 6)), ("s", int64(5, 3, 2))], shape=(5, 4))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (5, 3)))
    graph = build_graph(proto, name="m")
    assert graph.batched and graph.sample_shape == (4,) and graph.outputs == 3


MIXED = {
    "mean of the batch": [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ],
    "first sample": [
        helper.make_node("Gather", ["x", "zero"], ["f"], axis=0),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ],
    "softmax over the batch": [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
    "merged": [
        helper.make_node("Reshape", ["x", "all"], ["f"]),
        helper.make_node("Softmax", ["f"], ["s"], axis=1),
        helper.make_node("Reshape", ["s", "back"], ["y"]),
    ],
}


@pytest.mark.parametrize("name", MIXED)
def test_fixed_batch_whose_samples_are_mixed(name: str):
    initialisers = [("zero", int64(0)), ("all", int64(1, -1)), ("back", int64(3, 4))]
    proto = model(MIXED[name], initialisers, shape=(3, 4))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 4)))
    assert "batch" in str(refused(proto, UnsupportedError))


# --- depth and damage --------------------------------------------------------------------------


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


CONTENT = small_net().SerializeToString()
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "insert"]),
        st.integers(0, len(CONTENT) - 1),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(edits=EDITS)
def test_damaged_bytes_give_a_graph_or_a_sentence(edits):
    content = bytearray(CONTENT)
    for kind, position, part in edits:
        if kind == "set":
            content[position : position + 1] = part[:1]
        elif kind == "delete":
            del content[position : position + len(part)]
        else:
            content[position:position] = part
    expect_graph_or_sentence(bytes(content))


NUMBERS = st.one_of(
    st.integers(-3, 8), st.sampled_from([2**31 - 1, 2**31, 2**63 - 1, -(2**63), 2**20, -(2**31)])
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_edited_models_give_a_graph_or_a_sentence(data):
    """Damage that leaves the file readable: other operands, operators, attributes and numbers."""
    proto = small_net()
    nodes = proto.graph.node
    names = ["x", "w", "b", "shape", "h", "r", "s", "m", "k", "y", ""]
    for _ in range(data.draw(st.integers(1, 3))):
        node = nodes[data.draw(st.integers(0, len(nodes) - 1))]
        kind = data.draw(
            st.sampled_from(["input", "operator", "attribute", "shape", "input shape"])
        )
        if kind == "input" and node.input:
            place = data.draw(st.integers(0, len(node.input) - 1))
            node.input[place] = data.draw(st.sampled_from(names))
        elif kind == "operator":
            others = [
                "Tile",
                "Concat",
                "Slice",
                "Gather",
                "Conv",
                "MaxPool",
                "Resize",
                "Pad",
                "Where",
            ]
            node.op_type = data.draw(st.sampled_from(others))
        elif kind == "attribute" and node.attribute:
            attribute = node.attribute[0]
            attribute.i = data.draw(NUMBERS)
            attribute.ints[:] = [data.draw(NUMBERS) for _ in attribute.ints]
        elif kind == "shape":
            target = np.array([data.draw(NUMBERS) for _ in range(3)], dtype=np.int64)
            proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(target, "shape"))
        else:
            dims = proto.graph.input[0].type.tensor_type.shape.dim
            dims[data.draw(st.integers(0, 1))].dim_value = data.draw(NUMBERS)
    expect_graph_or_sentence(proto.SerializeToString())


def expect_graph_or_sentence(content: bytes) -> None:
    try:
        graph = build_graph(parse_model(content, "m.onnx"), name="m.onnx")
    except LipcertError as error:
        assert error.place and error.finding and error.remedy
        return
    assert isinstance(graph, Graph)
    if max([graph.input_shape, *(node.shape for node in graph.nodes)], key=np.prod, default=()) < (
        99,
    ):
        graph.evaluate(torch.zeros(2, *graph.input_shape, dtype=torch.float64))
