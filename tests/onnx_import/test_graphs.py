"""Graphs that make no sense or cannot be read for one sample: refused by the name of the node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from lipcert_test_builders import int64, model, op, refused, weights
from onnx import TensorProto, helper

from lipcert.errors import InputError, UnsupportedError
from lipcert.onnx_import import build_graph, parse_model


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


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_dilated_pools_that_pad_by_themselves_are_refused(kind: str) -> None:
    """ONNX Runtime pads them as if they were not dilated, the specification does not."""
    window = {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}
    proto = model([op(kind, "x", dilations=[2, 1], **window)], shape=(1, 1, 6, 6), opset=19)
    assert "pads as if it were not" in refused(proto, UnsupportedError).finding
    build_graph(model([op(kind, "x", **window)], shape=(1, 1, 6, 6), opset=19), name="m.onnx")
