"""Sensitivities of whole models: exact cases, ties, residuals, random models, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.differences import jacobians, steepest_below
from generators.graphs import random_model
from generators.small_models import onnx_model, small_graph
from hypothesis import given
from hypothesis import strategies as st

from lipcert.errors import InputError, LipcertError, UnboundedError, UnsupportedError
from lipcert.onnx_import import build_graph
from lipcert.sensitivities.engine import sensitivities
from lipcert.sensitivities.inputs import data_maximum, norm_ball, pixel_range
from lipcert.sensitivities.parts import QUICK, TIGHTEST
from lipcert.spectral import NormSettings

CHAIN = [("MatMul", ["x", "w"], "a"), ("Relu", ["a"], "h"), ("MatMul", ["h", "v"], "y")]


def chain():
    return small_graph(CHAIN, {"w": [[3.0]], "v": [[2.0]]}, [1, 1])


@pytest.mark.parametrize("plain", [True, False])
def test_scalar_chain(plain: bool) -> None:
    found = sensitivities(chain(), loss_lipschitz=1.0, input_set=norm_ball(5.0), plain=plain)
    assert [layer.delta for layer in found.layers] == pytest.approx([10.0, 15.0], rel=1e-12)
    assert found.global_delta == pytest.approx(math.sqrt(325.0), rel=1e-12)
    assert found.global_delta >= math.sqrt(325.0)
    assert [(layer.name, layer.G, layer.X) for layer in found.layers] == [
        ("a", pytest.approx(2.0), 5.0),
        ("y", 1.0, pytest.approx(15.0)),
    ]


def test_a_mean_over_a_batch_and_replacing_one() -> None:
    found = sensitivities(chain(), loss_lipschitz=0.1, input_set=norm_ball(5.0))
    assert found.global_delta == pytest.approx(1.802776, abs=5e-7)
    assert found.replace_one_delta == pytest.approx(3.605551, abs=5e-7)


def test_exact_affine_layer() -> None:
    steps = [("Gemm", ["x", "w", "b"], "h"), ("MatMul", ["h", "v"], "y")]
    held = {"w": [[2.0, 0.0], [0.0, 1.0]], "b": [0.0, 1.0], "v": np.eye(2)}
    found = sensitivities(
        small_graph(steps, held, [1, 2]), loss_lipschitz=1.0, input_set=norm_ball(1.0)
    )
    assert pytest.approx(4.0 / math.sqrt(3.0), rel=1e-9) == found.layers[1].X
    first = found.layers[0]
    assert [parameter.name for parameter in first.parameters] == ["w", "b"]
    assert first.delta == pytest.approx(math.sqrt(2.0))  # G√(X² + 1)
    assert found.gains["affine"] > found.global_delta
    assert found.plain_delta >= found.global_delta


def test_tied_weights_add_up() -> None:
    """w(w x) with w = 2, X = 1: 2·1 + 1·2, not the root of the sum of squares."""
    steps = [("MatMul", ["x", "w"], "h"), ("MatMul", ["h", "w"], "y")]
    found = sensitivities(
        small_graph(steps, {"w": [[2.0]]}, [1, 1]), loss_lipschitz=1.0, input_set=norm_ball(1.0)
    )
    (own,) = found.parameters
    assert own.uses == 2 and own.delta == pytest.approx(4.0)
    assert found.global_delta == pytest.approx(4.0) and len(found.layers) == 2


def test_equal_layers_with_weights_of_their_own_are_not_lost() -> None:
    """Two initialisers of equal value make one node of the graph: refused, not halved."""
    steps = [
        ("MatMul", ["x", "w"], "h"),
        ("MatMul", ["x", "v"], "k"),
        ("Add", ["h", "k"], "y"),
    ]
    with pytest.raises(UnsupportedError, match="'[vw]'"):
        sensitivities(
            small_graph(steps, {"w": [[2.0]], "v": [[2.0]]}, [1, 1]),
            loss_lipschitz=1.0,
            input_set=norm_ball(1.0),
        )


def test_one_layer_read_twice_counts_twice() -> None:
    steps = [
        ("MatMul", ["x", "w"], "h"),
        ("MatMul", ["x", "w"], "k"),
        ("Relu", ["k"], "r"),
        ("Add", ["h", "r"], "y"),
    ]
    graph = small_graph(steps, {"w": [[2.0]]}, [1, 1])
    found = sensitivities(graph, loss_lipschitz=1.0, input_set=norm_ball(1.0))
    assert found.global_delta >= 2.0


def checked(model, sample_shape, seed: int, statistics: set[str]) -> bool:
    """Whether a model has finite sensitivities; they are then held against differences."""
    graph = build_graph(model, name="random")
    radius = 2.0
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((5, *sample_shape))
    sizes = np.linalg.norm(x.reshape(5, -1), axis=1).reshape(-1, *(1,) * len(sample_shape))
    x *= radius * (1.0 - 1e-12) / sizes
    x[0] *= 0.1
    found = [
        sensitivities(graph, loss_lipschitz=1.0, input_set=norm_ball(radius), plain=plain)
        for plain in (False, True)
    ]
    truth = jacobians(model, torch.from_numpy(x))
    for result in found:
        bounds = {parameter.name: parameter.delta for parameter in result.parameters}
        parts = [slopes for name, slopes in truth.items() if name not in statistics]
        for name, slopes in truth.items():
            if name not in statistics:
                assert steepest_below([slopes]) <= bounds.get(name, 0.0), name
        if parts:
            assert steepest_below(parts) <= result.global_delta
    assert found[0].global_delta <= found[1].global_delta * (1.0 + 1e-9)
    assert all(gain >= found[0].global_delta * (1.0 - 1e-9) for gain in found[0].gains.values())
    return True


@given(st.integers(0, 1_000_000))
def test_no_gradient_of_a_random_model_is_above_its_bound(seed: int) -> None:
    drawn = random_model(seed)
    if sum(math.prod(tensor.dims) for tensor in drawn.model.graph.initializer) > 120:
        return
    nodes = drawn.model.graph.node
    statistics = {i for n in nodes if n.op_type == "BatchNormalization" for i in n.input[3:5]}
    try:
        checked(drawn.model, drawn.sample_shape, seed, statistics)
    except LipcertError:
        return


def test_most_random_models_are_not_refused() -> None:
    passed = 0
    for seed in range(30):
        try:
            graph = build_graph(random_model(seed).model, name="random")
            sensitivities(graph, loss_lipschitz=1.0, input_set=norm_ball(1.0))
            passed += 1
        except LipcertError:
            continue
    assert passed >= 15


def test_residual_block_with_a_box() -> None:
    steps = [
        ("Conv", ["x", "k", "b"], "h", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["h"], "r"),
        ("Add", ["r", "x"], "s"),
        ("Flatten", ["s"], "f"),
        ("Gemm", ["f", "w", "c"], "y"),
    ]
    rng = np.random.default_rng(1)
    held = {
        "k": rng.standard_normal((2, 2, 3, 3)) / 3.0,
        "b": rng.standard_normal(2),
        "w": rng.standard_normal((18, 3)) / 4.0,
        "c": rng.standard_normal(3),
    }
    model = onnx_model(steps, held, [1, 2, 3, 3])
    graph = build_graph(model, name="residual")
    inputs = pixel_range((2, 3, 3), mean=(0.5, 0.4), std=(0.5, 0.2))
    found = sensitivities(graph, loss_lipschitz=1.0, input_set=inputs)
    pixels = rng.integers(0, 2, (20, 2, 3, 3)).astype(float)
    x = (pixels - np.array([0.5, 0.4])[:, None, None]) / np.array([0.5, 0.2])[:, None, None]
    truth = jacobians(model, torch.from_numpy(x))
    for own in found.parameters:
        assert 0.0 < steepest_below([truth[own.name]]) <= own.delta
    assert found.global_delta <= found.plain_delta


def test_a_training_step_can_do_with_the_norms_alone() -> None:
    rng = np.random.default_rng(2)
    held = {"w": rng.standard_normal((3, 8)), "v": rng.standard_normal((8, 2))}
    graph = small_graph(CHAIN, held, [1, 3])
    settings = {"loss_lipschitz": 1.0, "input_set": norm_ball(1.0)}
    quick = sensitivities(graph, **settings, methods=QUICK, compare=False)
    best = sensitivities(graph, **settings)
    assert best.global_delta <= quick.global_delta <= best.plain_delta
    assert not quick.gains and best.gains


def deep(rng: np.random.Generator):
    steps = [
        ("MatMul", ["x", "a"], "h"),
        ("Relu", ["h"], "r"),
        ("MatMul", ["r", "b"], "k"),
        ("Relu", ["k"], "s"),
        ("MatMul", ["s", "c"], "y"),
    ]
    sizes = {"a": (3, 12), "b": (12, 12), "c": (12, 4)}
    held = {name: rng.standard_normal(size) for name, size in sizes.items()}
    return small_graph(steps, held, [1, 3])


def test_the_smallest_of_all_methods_is_not_above_each() -> None:
    graph = deep(np.random.default_rng(3))
    settings = {"loss_lipschitz": 1.0, "input_set": norm_ball(1.0)}
    best = sensitivities(graph, **settings)
    for name in TIGHTEST:
        alone = sensitivities(graph, **settings, methods=("autolip", name), compare=False)
        assert best.global_delta <= alone.global_delta * (1.0 + 1e-12)
    quick = sensitivities(graph, **settings, methods=TIGHTEST[:2], compare=False)
    assert best.gains["lipsdp"] == pytest.approx(quick.global_delta, rel=1e-12)
    assert best.global_delta < 0.99 * quick.global_delta
    assert best.layers[0].how_G == "suffix (lipsdp)"


def test_what_the_time_does_not_suffice_for_is_left_out() -> None:
    graph = deep(np.random.default_rng(3))
    settings = {"loss_lipschitz": 1.0, "input_set": norm_ball(1.0)}
    late = sensitivities(graph, **settings, settings=NormSettings(deadline=-math.inf))
    best = sensitivities(graph, **settings)
    assert best.global_delta < late.global_delta <= late.plain_delta
    assert late.gains["lipsdp"] == late.global_delta


def test_a_loss_that_depends_on_the_output_gains_from_a_tighter_output() -> None:
    """Twice the output's norm: the constant found after LipSDP counts, and it is a bound."""
    graph = deep(np.random.default_rng(3))
    found = sensitivities(graph, loss_lipschitz=lambda size: 2.0 * size, input_set=norm_ball(1.0))
    quick = sensitivities(
        graph, loss_lipschitz=lambda size: 2.0 * size, input_set=norm_ball(1.0), methods=QUICK
    )
    x = np.random.default_rng(1).standard_normal((500, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    outputs = graph.evaluate(torch.from_numpy(x))
    assert 2.0 * float(outputs.norm(dim=1).max()) <= found.loss_lipschitz < quick.loss_lipschitz


def test_data_bounds_are_labelled() -> None:
    found = sensitivities(chain(), loss_lipschitz=1.0, input_set=data_maximum(np.ones((3, 1))))
    assert not found.is_private and "not a privacy guarantee" in str(found)


def test_training_mode_is_refused() -> None:
    steps = [("BatchNormalization", ["x", "g", "b", "m", "v"], "y", {"training_mode": 1})]
    held = {"g": [1.0], "b": [0.0], "m": [0.0], "v": [1.0]}
    with pytest.raises(UnsupportedError, match="training mode"):
        small_graph(steps, held, [1, 1, 2])


def test_a_model_without_a_bound_is_refused() -> None:
    steps = [("MatMul", ["x", "w"], "h"), ("Exp", ["h"], "y")]
    with pytest.raises(UnboundedError, match=r"node 'y' \(Exp\)"):
        sensitivities(
            small_graph(steps, {"w": np.eye(2)}, [1, 2]),
            loss_lipschitz=1.0,
            input_set=norm_ball(1.0),
        )


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        sensitivities(chain(), loss_lipschitz=1.0, input_set=pixel_range((3, 2, 2)))
    with pytest.raises(InputError, match="not a constant"):
        sensitivities(chain(), loss_lipschitz=math.inf, input_set=norm_ball(1.0))
