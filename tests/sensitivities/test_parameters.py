"""Sensitivities of single layers: the table's rows, against gradients by differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.differences import jacobians, steepest_below
from generators.small_models import onnx_model, small_graph

from lipcert.errors import InputError, UnsupportedError
from lipcert.onnx_import import build_graph
from lipcert.operators import Convolution
from lipcert.sensitivities.engine import sensitivities
from lipcert.sensitivities.inputs import norm_ball
from lipcert.sensitivities.usage import kernel_factor, tap_factor

RNG = np.random.default_rng(3)


def convolution(kernel: int, stride: int, pad: int) -> Convolution:
    weight = torch.zeros(1, 1, kernel, kernel).double()
    both = {"stride": (stride, stride), "dilation": (1, 1)}
    pads = {"pads_begin": (pad, pad), "pads_end": (pad, pad)}
    return Convolution(weight, (32, 32), **both, **pads)


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "expected"),
    [(3, 1, 1, 3.0), (3, 2, 1, 2.0), (4, 4, 0, 1.0), (5, 2, 2, 3.0)],
)
def test_usage_counts_of_kernels(kernel: int, stride: int, pad: int, expected: float) -> None:
    assert kernel_factor(convolution(kernel, stride, pad)) == expected
    assert tap_factor(convolution(kernel, stride, pad)) == kernel


def deltas(steps, held, shape, *, R: float = 1.5, frozen=()) -> dict[str, float]:
    graph = small_graph(steps, held, shape)
    found = sensitivities(graph, loss_lipschitz=1.0, input_set=norm_ball(R), frozen=frozen)
    return {parameter.name: parameter.delta for parameter in found.parameters}


def check(steps, held, shape, *, R: float = 1.5, statistics=()) -> float:
    """No gradient by differences is above its bound; returns the largest ratio."""
    model = onnx_model(steps, held, shape)
    graph = build_graph(model, name="small")
    x = RNG.standard_normal((12, *graph.sample_shape))
    sizes = np.linalg.norm(x.reshape(12, -1), axis=1).reshape(-1, *(1,) * (x.ndim - 1))
    x *= R * (1.0 - 1e-12) / sizes
    largest = 0.0
    found = jacobians(model, torch.from_numpy(x))
    for plain in (False, True):
        result = sensitivities(graph, loss_lipschitz=1.0, input_set=norm_ball(R), plain=plain)
        bounds = {parameter.name: parameter.delta for parameter in result.parameters}
        assert set(bounds) == set(found) - set(statistics)
        for name, bound in bounds.items():
            truth = steepest_below([found[name]])
            assert truth <= bound, name
            largest = max(largest, truth / bound if bound else 0.0)
        assert steepest_below(found[name] for name in bounds) <= result.global_delta
    return largest


def test_differences_are_as_sharp_as_they_say() -> None:
    """Against derivatives by hand: inside their errors, and these below 1e-7 of the norm."""
    steps = [("MatMul", ["x", "w"], "a"), ("Tanh", ["a"], "h"), ("MatMul", ["h", "v"], "y")]
    held = {"w": weights(3, 4).astype(np.float32), "v": weights(4, 2).astype(np.float32)}
    x = RNG.standard_normal((6, 3))
    found = jacobians(onnx_model(steps, held, [1, 3]), torch.from_numpy(x))
    slope = 1.0 - np.tanh(x @ held["w"].astype(np.float64)) ** 2
    exact = np.einsum("ni,nk,ko->noik", x, slope, held["v"].astype(np.float64)).reshape(6, 2, 12)
    own = found["w"]
    assert (np.abs(own.values - exact) <= own.errors + own.rounding).all()
    for part in found.values():
        off = np.linalg.norm(part.errors, axis=(1, 2)) + part.rounding * part.values.shape[-1]
        assert (off <= 1e-7 * np.linalg.norm(part.values, axis=(1, 2))).all()
    least, truth = steepest_below([own]), float(np.linalg.norm(exact, 2, axis=(1, 2)).max())
    assert truth * (1.0 - 1e-7) <= least <= truth


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def test_tokens_add_up_in_the_bias() -> None:
    """Δ_W = G·X, Δ_b = G√T."""
    steps = [("MatMul", ["x", "w"], "a"), ("Add", ["a", "b"], "y")]
    held = {"w": weights(3, 2), "b": weights(2)}
    found = deltas(steps, held, [1, 5, 3])
    assert found["w"] == pytest.approx(1.5) and found["b"] == pytest.approx(math.sqrt(5.0))
    assert check(steps, held, [1, 5, 3]) > 0.99


CONVOLUTIONS = [
    ([1, 2, 5, 5], (3, 2, 3, 3), {"pads": [1, 1, 1, 1]}),
    ([1, 2, 6, 5], (2, 2, 3, 2), {"strides": [2, 1], "dilations": [1, 2]}),
    ([1, 4, 5, 4], (4, 2, 2, 3), {"group": 2, "pads": [1, 0, 0, 2], "strides": [1, 2]}),
    ([1, 2, 9], (3, 2, 4), {"strides": [4]}),
    ([1, 1, 3, 3, 3], (2, 1, 2, 2, 2), {"pads": [1, 0, 0, 0, 1, 1]}),
]


@pytest.mark.parametrize(("shape", "kernel", "options"), CONVOLUTIONS)
def test_convolutions(shape, kernel, options) -> None:
    held = {"k": weights(*kernel), "b": weights(kernel[0])}
    check([("Conv", ["x", "k", "b"], "y", options)], held, shape)
    check([("Conv", ["x", "k", "b"], "h", options), ("Relu", ["h"], "y")], held, shape)


def test_transposed_convolutions() -> None:
    for options in ({"strides": [2, 2]}, {"pads": [1, 1, 0, 0]}, {"strides": [1, 3], "group": 2}):
        groups = options.get("group", 1)
        held = {"k": weights(2, 2, 2, 3), "b": weights(2 * groups)}
        check([("ConvTranspose", ["x", "k", "b"], "y", options)], held, [1, 2, 3, 4])


def test_reflection_counts_its_copies() -> None:
    pads = {"mode": "reflect"}
    steps = [("Pad", ["x", "p"], "h", pads), ("Conv", ["h", "k"], "y")]
    held = {"p": [0, 0, 2, 2, 0, 0, 2, 2], "k": weights(2, 1, 3, 3)}
    check(steps, held, [1, 1, 4, 4])


def test_convolution_bias_counts_positions() -> None:
    """A 1×1 convolution on 8×8 with a head of 64 times 1/8: Δ_bias = 8."""
    steps = [
        ("Conv", ["x", "k", "b"], "h"),
        ("Flatten", ["h"], "f"),
        ("MatMul", ["f", "v"], "y"),
    ]
    held = {"k": np.ones((1, 1, 1, 1)), "b": [0.0], "v": np.full((64, 1), 0.125)}
    found = deltas(steps, held, [1, 1, 8, 8])
    assert found["b"] == pytest.approx(8.0, rel=1e-12) and found["b"] >= 8.0


def test_batch_normalisation_at_inference() -> None:
    """Δγ = G·max_c (X + √P|μ_c|)/√(v_c + ε), Δβ = G√P; mean and variance are statistics."""
    steps = [("BatchNormalization", ["x", "g", "b", "m", "v"], "y", {"epsilon": 0.5})]
    held = {"g": [1.0, -2.0], "b": [0.5, 0.0], "m": [0.3, -1.0], "v": [0.5, 3.5]}
    found = deltas(steps, held, [1, 2, 3, 3])
    expected = max((1.5 + 3.0 * 0.3) / 1.0, (1.5 + 3.0 * 1.0) / 2.0)
    assert found["g"] == pytest.approx(expected, rel=1e-6)
    assert found["b"] == pytest.approx(3.0) and set(found) == {"g", "b"}
    check(steps, held, [1, 2, 3, 3], statistics=("m", "v"))


def test_layer_normalisation() -> None:
    """Δγ = G√(T(n − 1)), Δβ = G√T."""
    steps = [("LayerNormalization", ["x", "g", "b"], "y", {"epsilon": 1e-6})]
    held = {"g": weights(4), "b": weights(4)}
    found = deltas(steps, held, [1, 3, 4], R=100.0)
    assert found["g"] == pytest.approx(3.0) and found["b"] == pytest.approx(math.sqrt(3.0))
    check(steps, held, [1, 3, 4], R=100.0)


@pytest.mark.parametrize(
    ("steps", "held"),
    [
        ([("Mul", ["x", "s"], "y")], {"s": weights(4)}),
        ([("Mul", ["x", "s"], "y")], {"s": weights(3, 1)}),
        ([("Div", ["x", "s"], "y")], {"s": [[0.5], [-2.0], [1.0]]}),
        ([("Sub", ["s", "x"], "y")], {"s": weights(1)}),
        ([("Add", ["x", "s"], "h"), ("Mul", ["h", "s"], "y")], {"s": weights(3, 4)}),
        ([("PRelu", ["x", "s"], "y")], {"s": weights(4)}),
        ([("PRelu", ["x", "s"], "y")], {"s": weights(1)}),
        ([("MatMul", ["w", "x"], "y")], {"w": weights(2, 3)}),
        ([("Transpose", ["w"], "t"), ("MatMul", ["x", "t"], "y")], {"w": weights(2, 4)}),
        (
            [("Expand", ["s", "n"], "t"), ("MatMul", ["x", "t"], "y")],
            {"s": weights(4, 1), "n": [4, 3]},
        ),
        (
            [("Mul", ["w", "c"], "t"), ("MatMul", ["x", "t"], "y")],
            {"w": weights(4, 2), "c": weights(4, 1)},
        ),
        ([("InstanceNormalization", ["x", "s", "t"], "y")], {"s": weights(3), "t": weights(3)}),
    ],
)
def test_constants_of_other_kinds(steps, held) -> None:
    check(steps, held, [1, 3, 4])


def test_factors_of_a_gemm() -> None:
    options = {"alpha": 0.5, "beta": -3.0, "transB": 1}
    steps = [("Gemm", ["x", "w", "b"], "y", options)]
    held = {"w": weights(2, 3), "b": weights(2)}
    found = deltas(steps, held, [1, 3])
    assert found["w"] == pytest.approx(0.75) and found["b"] == pytest.approx(3.0)
    assert check(steps, held, [1, 3]) > 0.99


def test_a_parameter_computed_in_the_graph_is_refused() -> None:
    """A weight divided by its own norm."""
    steps = [
        ("ReduceL2", ["w"], "n", {"axes": [0]}),
        ("Div", ["w", "n"], "t"),
        ("MatMul", ["x", "t"], "y"),
    ]
    with pytest.raises(UnsupportedError, match=r"node 'y'.*'w'"):
        deltas(steps, {"w": weights(3, 2)}, [1, 3])


def test_a_parameter_lost_in_a_pattern_is_refused() -> None:
    """``x·sigmoid(βx)`` is known as one activation, which keeps no word of β."""
    steps = [("Mul", ["x", "s"], "h"), ("Sigmoid", ["h"], "g"), ("Mul", ["x", "g"], "y")]
    with pytest.raises(UnsupportedError, match=r"node 'h'.*'s'"):
        deltas(steps, {"s": 1.702}, [1, 3])
    with pytest.raises(InputError, match="no parameters"):
        deltas(steps, {"s": 1.702}, [1, 3], frozen=("s",))


def test_limits_of_a_clip_are_refused_as_initialisers() -> None:
    steps = [("MatMul", ["x", "w"], "h"), ("Clip", ["h", "", "m"], "y")]
    held = {"w": weights(3, 2), "m": 6.0}
    with pytest.raises(UnsupportedError, match=r"node 'y'.*'m'"):
        deltas(steps, held, [1, 3])
    assert set(deltas(steps, held, [1, 3], frozen=("m",))) == {"w"}


def test_frozen_names_must_exist() -> None:
    with pytest.raises(InputError, match="no initialiser"):
        deltas([("MatMul", ["x", "w"], "y")], {"w": weights(3, 2)}, [1, 3], frozen=("v",))
