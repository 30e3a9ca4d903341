"""Products with matrices, contractions and normalisation layers."""

from __future__ import annotations

import numpy as np
from onnx import helper

from .single import Single, any_axis, floats, makes, shuffled, sizes


@makes("Gemm")
def gemm(rng: np.random.Generator, opset: int, name: str) -> Single:
    flags = {key: int(rng.integers(2)) for key in ("transA", "transB")}
    rows, inner, columns = sizes(rng, 3)
    left = (inner, rows) if flags["transA"] else (rows, inner)
    right = (columns, inner) if flags["transB"] else (inner, columns)
    biases = [(1,), (columns,), (rows, 1), (rows, columns)]
    attributes = {**flags, "alpha": 0.5, "beta": 1.5} if rng.random() < 0.6 else flags
    inputs = ["x", floats(rng, *right)] if rng.random() < 0.7 else [floats(rng, *left), "x"]
    if opset < 11 or rng.random() < 0.7:
        inputs.append(floats(rng, *biases[int(rng.integers(4))]))
    return Single(left if isinstance(inputs[0], str) else right, inputs, attributes)


@makes("MatMul")
def matmul(rng: np.random.Generator, opset: int, name: str) -> Single:
    pairs = [
        ((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 2)), ((4,), (3, 4, 2)), ((3, 4), (1, 1, 4, 2)), ((2, 3, 4), (4,)),
    ]  # fmt: skip
    left, right = pairs[int(rng.integers(len(pairs)))]
    if rng.random() < 0.5:
        return Single(left, ["x", floats(rng, *right)])
    return Single(right, [floats(rng, *left), "x"])


@makes("MatMul")
def matmul_of_signals(rng: np.random.Generator, opset: int, name: str) -> Single:
    before = [
        helper.make_node("Transpose", ["x0"], ["t"], perm=[1, 0]),
        helper.make_node("Identity", ["x0"], ["x"]),
    ]
    return Single((3, 4), shuffled(rng, "x", "t"), before=before, infinite=True)


@makes("MatMul")
def matmul_of_ranks(rng: np.random.Generator, opset: int, name: str) -> Single:
    before = [
        helper.make_node("ReduceMax", ["x0"], ["v"], axes=[0, 1], keepdims=0),
        helper.make_node("Identity", ["x0"], ["x"]),
    ]
    if opset >= 18:
        before[0] = helper.make_node("GlobalMaxPool", ["x0"], ["g"])
        before.insert(1, helper.make_node("Squeeze", ["g"], ["v"]))
        return Single((3, 1, 3), ["x", "v"], before=before, infinite=True)
    return Single((2, 3, 4), ["x", "v"], before=before, infinite=True)


@makes("Einsum", since=12)
def einsum(rng: np.random.Generator, opset: int, name: str) -> Single:
    forms = [
        ("bij,jk->bik", (2, 3, 4), (4, 5)), ("bij,ik->kbj", (2, 3, 4), (3, 2)),
        ("bij,ijk->bk", (2, 3, 4), (3, 4, 2)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 3)),
        ("bij,j->bij", (2, 3, 4), (4,)), ("ij,kl->il", (2, 3), (4, 5)), ("ij,jk", (2, 3), (3, 2)),
        ("zij,zik->jz", (2, 3, 4), (2, 3, 2)), ("i,j->ji", (3,), (2,)),
    ]  # fmt: skip
    equation, mine, theirs = forms[int(rng.integers(len(forms)))]
    if rng.random() < 0.5:
        return Single(mine, ["x", floats(rng, *theirs)], {"equation": equation})
    return Single(theirs, [floats(rng, *mine), "x"], {"equation": equation})


@makes("Einsum", since=12)
def einsum_alone(rng: np.random.Generator, opset: int, name: str) -> Single:
    equation = str(rng.choice(["ijk->kij", "ijk->ki", "ijk->", "ijk->kji"]))
    return Single((2, 3, 4), attributes={"equation": equation})


@makes("Einsum", since=12)
def einsum_of_signals(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((3, 3), ["x", "x"], {"equation": "ab,Zb->aZ"}, infinite=True)


@makes("Einsum", since=12)
def einsum_refused(rng: np.random.Generator, opset: int, name: str) -> Single:
    equation = str(rng.choice(["ii->i", "...j->...", "ij,ij,ij->i"]))
    return Single(
        (3, 3), ["x"] * (equation.count(",") + 1), {"equation": equation}, refused="equation"
    )


@makes("Softmax", "LogSoftmax")
def softmax(rng: np.random.Generator, opset: int, name: str) -> Single:
    axis = any_axis(rng, 3) if opset >= 11 else int(rng.integers(3))
    return Single(sizes(rng, 3), attributes={"axis": axis} if rng.random() < 0.8 else {})


@makes("Softmax", since=13)
def masked_softmax(rng: np.random.Generator, opset: int, name: str) -> Single:
    mask = np.where(rng.random((4, 5)) < 0.5, -np.inf, floats(rng, 4, 5)).astype(np.float32)
    mask[:, 2] = 0.0
    tensor = helper.make_tensor("m", 1, mask.shape, mask.reshape(-1).tolist())
    before = [
        helper.make_node("Constant", [], ["m"], value=tensor),
        helper.make_node("Add", ["x0", "m"], ["x"]),
    ]
    return Single((2, 4, 5), before=before)


@makes("BatchNormalization")
def batch_normalization(rng: np.random.Generator, opset: int, name: str) -> Single:
    rank = int(rng.integers(2, 5))
    channels = int(rng.integers(1, 4))
    parameters = [floats(rng, channels) for _ in range(3)]
    variance = rng.uniform(0.1, 2.0, channels).astype(np.float32)
    attributes = {"epsilon": 1e-3} if rng.random() < 0.5 else {}
    shape = (2, channels, *sizes(rng, rank - 2))
    return Single(shape, ["x", *parameters, variance], attributes)


@makes("BatchNormalization", since=14)
def batch_normalization_training(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(
        (2, 1, 3),
        ["x", *(np.ones(1, np.float32) for _ in range(4))],
        {"training_mode": 1},
        outputs=3,
        refused="training mode",
    )


@makes("LayerNormalization", since=17)
def layer_normalization(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape, axis = sizes(rng, 3, 2), any_axis(rng, 3)
    inner = shape[axis:]
    inputs = ["x", floats(rng, *inner)]
    if rng.random() < 0.6:
        inputs.append(floats(rng, *inner))
    attributes = {"epsilon": float(rng.choice([1e-5, 1e-2])), "axis": axis}
    return Single(shape, inputs, attributes)


@makes("RMSNormalization", since=23)
def rms_normalization(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape = sizes(rng, 3, 2)
    return Single(shape, ["x", floats(rng, *shape[1:])], {"axis": 1}, reference=True)


@makes("InstanceNormalization")
def instance_normalization(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape = (2, 3, *sizes(rng, int(rng.integers(1, 3)), 2))
    return Single(shape, ["x", floats(rng, 3), floats(rng, 3)], {"epsilon": 1e-3})


@makes("GroupNormalization", since=18)
def group_normalization(rng: np.random.Generator, opset: int, name: str) -> Single:
    size = 2 if opset < 21 else 6
    return Single(
        (2, 6, 3, 2),
        ["x", floats(rng, size), floats(rng, size)],
        {"num_groups": 2, "epsilon": 1e-3},
        reference=True,
    )


@makes("MeanVarianceNormalization", since=9)
def mean_variance_normalization(rng: np.random.Generator, opset: int, name: str) -> Single:
    axes = [{}, {"axes": [2, 3]}, {"axes": [0, 2, 3]}, {"axes": [1]}][int(rng.integers(4))]
    return Single((2, 3, 3, 4), attributes=axes)
