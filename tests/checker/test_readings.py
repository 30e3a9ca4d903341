"""What nodes and files mean: the checker reads them as ONNX says, or not at all."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from making import f32, i64, loaded, model, network, node
from onnx import helper, numpy_helper

from lipcert.checker.exact import CheckError
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read


def deployed(content: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def alike(content: bytes, *shape: int) -> None:
    """The checker's values are those of ONNX Runtime."""
    x = np.random.default_rng(5).normal(size=(1, *shape)).astype(np.float32)
    made = network(content)
    rows = forward(made, rows_of(x))[made.logits]
    ours = np.ldexp(rows.mantissa.astype(float), rows.exponent)
    theirs = deployed(content, x).reshape(1, -1)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, np.abs(theirs).max())


def unread(content: bytes) -> None:
    with pytest.raises(CheckError):
        network(content)


@pytest.mark.parametrize("axis", [-1, -2, -3, 0, 1, 2, 3])
def test_flatten_counts_axes_from_behind(axis):
    flat = node("Flatten", ["x"], ["f"], axis=axis)
    add = node("Add", ["f", "c"], ["y"])
    alike(model([flat, add], {"c": np.arange(6, dtype=np.float32)[None, :1]}, [1, 2, 3]), 2, 3)


def test_means_over_no_axis():
    kept = node("ReduceMean", ["x"], ["y"], noop_with_empty_axes=1)
    unread(model([kept], {}, [1, 4], opset=18))
    alike(model([node("ReduceMean", ["x"], ["y"])], {}, [1, 4], opset=18), 4)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_that_pad_by_themselves(mode, side, stride):
    given = {"kernel_shape": [2, 2], "strides": [stride, stride], "auto_pad": mode}
    pooled = model([node("AveragePool", ["x"], ["y"], **given)], {}, [1, 1, side, side])
    padded = (-(-side // stride) - 1) * stride + 2 > side
    if padded:
        unread(pooled)
    else:
        alike(pooled, 1, side, side)
    alike(model([node("MaxPool", ["x"], ["y"], **given)], {}, [1, 1, side, side]), 1, side, side)
    kernel = {"k": f32(np.arange(8.0)).reshape(2, 1, 2, 2)}
    conv = model([node("Conv", ["x", "k"], ["y"], **given)], kernel, [1, 1, side, side])
    alike(conv, 1, side, side)


@pytest.mark.parametrize("kind", ["Conv", "MaxPool", "AveragePool"])
def test_windows_over_a_batch_that_the_model_makes_itself(kind):
    """Padded along its batch axis, one sample becomes three; they are not one larger image."""
    weights = {"pads": i64(0, 0, 0, 0, 2, 0, 0, 0), "k": f32(np.ones((1, 1, 2, 2)))}
    given = {} if kind == "Conv" else {"kernel_shape": [2, 2]}
    nodes = [
        node("Pad", ["x", "pads"], ["p"]),
        node(kind, ["p", "k"] if kind == "Conv" else ["p"], ["y"], **given),
    ]
    unread(model(nodes, weights, ["n", 1, 4, 4]))
    alike(model(nodes, weights | {"pads": i64(*[0] * 8)}, ["n", 1, 4, 4]), 1, 4, 4)


def test_averages_count_no_padding():
    given = {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}
    unread(model([node("AveragePool", ["x"], ["y"], **given)], {}, [1, 1, 4, 4]))
    ceiled = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    unread(model([node("AveragePool", ["x"], ["y"], **ceiled)], {}, [1, 1, 5, 5]))
    unread(model([node("MaxPool", ["x"], ["y"], **ceiled)], {}, [1, 1, 5, 5]))


def test_axes_of_padding_are_not_overlooked():
    weights = {"pads": i64(1, 0, 0, 2), "zero": f32([0.0]).reshape(()), "axes": i64(1, 0)}
    padded = node("Pad", ["x", "pads", "zero", "axes"], ["y"])
    unread(model([padded], weights, [1, 3], opset=18))


@pytest.mark.parametrize("outputs", [2, 3, 4])
def test_uneven_splits(outputs):
    names = [f"p{k}" for k in range(outputs)]
    cut = node("Split", ["x"], names, axis=1, num_outputs=outputs)
    alike(model([cut], {}, [1, 5], opset=18, out=names[0]), 5) if outputs < 4 else None
    if outputs == 4:
        unread(model([cut], {}, [1, 5], opset=18, out=names[0]))


@pytest.mark.parametrize(
    ("starts", "ends", "axes"), [(-3, 10**9, 1), (-9, -1, -1), (1, 3, 1), (0, -10, 1)]
)
def test_slices_are_clamped(starts, ends, axes):
    weights = {"a": i64(starts), "b": i64(ends), "c": i64(axes)}
    content = model([node("Slice", ["x", "a", "b", "c"], ["y"])], weights, [1, 5])
    if ends == -10:
        unread(content)
    else:
        alike(content, 5)


def test_gemm_scales_and_broadcasts():
    rng = np.random.default_rng(0)
    weights = {"b": f32(rng.normal(size=(4, 3)))}
    for c in (
        f32(2.0).reshape(()),
        f32([1.0]),
        f32(rng.normal(size=4)),
        f32(rng.normal(size=4))[None],
    ):
        for alpha, beta in ((1.0, 1.0), (0.3, -2.0)):
            gemm = node("Gemm", ["x", "b", "c"], ["y"], transB=1, alpha=alpha, beta=beta)
            content = model([gemm], weights | {"c": c}, [1, 3])
            alike(content, 3)
            assert bool(network(content).beyond) == (alpha != 1.0)
    unread(model([node("Gemm", ["x", "b"], ["y"])], {"b": f32(rng.normal(size=(4, 3)))}, [1, 3]))


def test_the_larger_and_the_smaller_of_names_that_look_like_others():
    """No name of a tensor is taken for what the checker makes itself."""
    weights = {"w": f32(np.eye(4)), "half": i64(2, 2)}
    split = node("Split", ["x", "half"], ["a", "b|c"], axis=1)
    rest = [
        node("Identity", ["a"], ["a|b"]),
        node("MatMul", ["x", "w"], ["a|b|c/sorted"]),
        node("Neg", ["b|c"], ["c"]),
        node("Max", ["a", "b|c"], ["m"]),
        node("Max", ["a|b", "c"], ["n"]),
        node("Min", ["b|c", "a"], ["o"]),
        node("Max", ["a", "a"], ["p"]),
        node("Concat", ["m", "n", "o", "p", "a|b|c/sorted"], ["y"], axis=1),
    ]
    alike(model([split, *rest], weights, [1, 4]), 4)


def test_whole_numbers_are_divided_as_whole_numbers_or_not_at_all():
    weights = {"a": i64(7), "b": i64(2)}
    nodes = [node("Div", ["a", "b"], ["c"]), node("Mul", ["x", "c"], ["y"])]
    unread(model(nodes, weights, [1, 3]))


@pytest.mark.parametrize("kind", ["Mul", "Div"])
def test_constants_keep_their_rank(kind):
    weights = {"a": f32([1.0, 2.0, 3.0]), "b": f32([[[4.0]]])}
    nodes = [node(kind, ["a", "b"], ["c"]), node("Add", ["x", "c"], ["s"])]
    nodes.append(node("Concat", ["s", "s"], ["y"], axis=1))
    alike(model(nodes, weights, [1, 3]), 3)


def test_matrices_in_a_batch_are_not_multiplied():
    weights = {"a": f32(np.ones((2, 2))), "b": f32(np.arange(8.0)).reshape(2, 2, 2)}
    nodes = [node("MatMul", ["a", "b"], ["c"]), node("Add", ["x", "c"], ["y"])]
    unread(model(nodes, weights, [2, 2]))
    unread(model(nodes, weights, [1, 2, 2]))


def test_names_stand_for_one_tensor():
    same = [node("Relu", ["x"], ["h"]), node("Identity", ["x"], ["h"]), node("Neg", ["h"], ["y"])]
    unread(model(same, {}, [1, 3]))
    unread(
        model(
            [node("Identity", ["x"], ["w"]), node("Neg", ["w"], ["y"])], {"w": f32([1.0])}, [1, 3]
        )
    )
    twice = loaded(model([node("Add", ["x", "w"], ["y"])], {"w": f32([1.0])}, [1, 1]))
    twice.graph.initializer.append(numpy_helper.from_array(f32([5.0]), "w"))
    unread(twice.SerializeToString())


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_other_opsets_are_not_read(opset):
    unread(model([node("Relu", ["x"], ["y"])], {}, [1, 3], opset=opset))


def field(number: int, content: bytes) -> bytes:
    """One length-delimited field of a message."""
    size, varint = len(content), b""
    while True:
        varint += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + varint + content


def test_messages_that_other_readers_would_merge():
    """Protocol buffers join two graphs into one: what the first holds counts too."""
    first = loaded(model([node("Relu", ["x"], ["y"])], {}, [1, 3]))
    del first.graph.input[:], first.graph.output[:]
    second = loaded(model([node("Identity", ["x"], ["z"])], {}, [1, 3], out="z"))
    both = field(7, first.graph.SerializeToString()) + second.SerializeToString()
    assert len(onnx.load_from_string(both).graph.node) == 2
    unread(both)


def test_names_are_told_apart_by_their_bytes():
    content = model([node("Relu", ["x"], ["qq"]), node("Neg", ["qq"], ["y"])], {}, [1, 3])
    with pytest.raises(CheckError):
        read(content.replace(b"qq", b"q\xff"), None)


def test_attributes_hold_what_their_type_says():
    content = model([node("Flatten", ["x"], ["y"], axis=2)], {}, [1, 3, 1])
    made = loaded(content)
    made.graph.node[0].attribute[0].s = b"UPPER"
    unread(made.SerializeToString())
    made = loaded(content)
    made.graph.node[0].attribute.append(helper.make_attribute("axis", 1))
    unread(made.SerializeToString())
    for other in range(1, 15):  # every other type of attribute
        made = loaded(content)
        made.graph.node[0].attribute[0].type = other
        if other == onnx.AttributeProto.INT:
            network(made.SerializeToString())
        elif other <= onnx.AttributeProto.SPARSE_TENSORS:
            unread(made.SerializeToString())


def test_numbers_of_another_kind_are_no_sides():
    tensor = numpy_helper.from_array(f32([1.0, 2.0, 3.0]), "w").SerializeToString()
    made = loaded(model([node("Add", ["x", "w"], ["y"])], {}, [1, 3]))
    graph = made.graph.SerializeToString()
    wrong = bytes([1 << 3 | 5]) + bytes([1] * 4)  # dims as four bytes
    made.ClearField("graph")
    unread(made.SerializeToString() + field(7, graph + field(5, tensor + wrong)))
    network(made.SerializeToString() + field(7, graph + field(5, tensor)))


BATCHES = {
    "rows become columns": [node("Transpose", ["x"], ["y"], perm=[1, 0])],
    "one row of all": [node("Reshape", ["x", "flat"], ["y"])],
    "flattened from the start": [node("Flatten", ["x"], ["y"], axis=0)],
    "a mean over samples": [node("ReduceMean", ["x"], ["y"], axes=[0])],
    "a mean over all": [node("ReduceMean", ["x"], ["y"])],
    "the first sample": [node("Slice", ["x", "zero", "one", "zero"], ["y"])],
    "doubled": [node("Concat", ["x", "x"], ["y"], axis=0)],
    "against one another": [
        node("Unsqueeze", ["x", "one"], ["u"]),
        node("Add", ["u", "x"], ["y"]),
    ],
    "how many": [node("Shape", ["x"], ["s"]), node("Reshape", ["x", "s"], ["y"])],
}
WEIGHTS = {"flat": i64(1, -1), "zero": i64(0), "one": i64(1), "kept": i64(-1, 4)}


@pytest.mark.parametrize("name", BATCHES)
def test_samples_of_a_fixed_batch_are_not_mixed(name):
    used = {n for one in BATCHES[name] for n in one.input}
    weights = {key: value for key, value in WEIGHTS.items() if key in used}
    unread(model(BATCHES[name], weights, [4, 4]))


def test_a_fixed_batch_that_treats_samples_alike_is_read():
    rng = np.random.default_rng(1)
    weights = {
        "k": f32(rng.normal(size=(2, 1, 3, 3))),
        "w": f32(rng.normal(size=(8, 3))),
        "flat": i64(-1, 8),
        "one": i64(2),
    }
    nodes = [
        node("Conv", ["x", "k"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Reshape", ["r", "flat"], ["f"]),
        node("Unsqueeze", ["f", "one"], ["u"]),
        node("Squeeze", ["u", "one"], ["s"]),
        node("Gemm", ["s", "w"], ["y"]),
    ]
    content = model(nodes, weights, [5, 1, 4, 4])
    x = rng.normal(size=(5, 1, 4, 4)).astype(np.float32)
    made = network(content)
    rows = forward(made, rows_of(x))[made.logits]
    ours = np.ldexp(rows.mantissa.astype(float), rows.exponent)
    assert np.abs(ours - deployed(content, x)).max() < 1e-4


def test_exact_values_are_what_rationals_give():
    """A small network in rationals: the integers and their radius hold them."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    nodes = [
        node("MatMul", ["x", "a"], ["v"]),
        node("LeakyRelu", ["v"], ["h"], alpha=0.1),
        node("MatMul", ["h", "b"], ["y"]),
    ]
    made = network(model(nodes, {"a": a, "b": b}, [1, 3]))
    x = rng.normal(size=(1, 3)).astype(np.float32)
    rows = forward(made, rows_of(x))["y"]
    alpha = Fraction(float(np.float32(0.1)))
    v = [
        sum(Fraction(float(x[0, i])) * Fraction(float(a[i, j])) for i in range(3)) for j in range(4)
    ]
    h = [value if value > 0 else alpha * value for value in v]
    y = [sum(h[j] * Fraction(float(b[j, k])) for j in range(4)) for k in range(2)]
    off = [
        t - int(m) * Fraction(2) ** rows.exponent for t, m in zip(y, rows.mantissa[0], strict=True)
    ]
    assert sum(o * o for o in off) <= Fraction(float(rows.radius[0])) ** 2
