"""Random models: read as ONNX Runtime runs them, and no bound below any slope they have.

``LIPCERT_SOUNDNESS_GRAPHS`` sets how many (150 by default); ``benchmarks/soundness.py`` runs the
same models and writes down what it found.
"""

from __future__ import annotations

import itertools
import math
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from generators.bent_blocks import activation_model, writable
from generators.graphs import OPSETS, RandomModel, random_model
from generators.methods import applied, excess
from generators.soundness import judge
from generators.table import BLOCKS

from lipcert.bounds import METHODS, BoundContext, lower_bound
from lipcert.graph import Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.onnx_import import build_graph, parse_model
from lipcert.signals import fold
from lipcert.spectral import NORMS, NormSettings

SEEDS = range(int(os.environ.get("LIPCERT_SOUNDNESS_GRAPHS", "150")))


def imported(content: bytes) -> Graph:
    return build_graph(parse_model(content, "random"), name="random")


def deployed(content: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # its fusion of Pad into MaxPool makes models that it then refuses
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0].reshape(len(x), -1)


def assert_same_outputs(graph: Graph, content: bytes, shape: tuple[int, ...], batch: int) -> None:
    """Ours in float64 against ONNX Runtime's in float32."""
    rng = np.random.default_rng(7)
    for scale in (0.3, 1.0, 3.0):
        x = (scale * rng.standard_normal((batch, *shape))).astype(np.float32)
        ours = graph.evaluate(torch.from_numpy(x.astype(np.float64))).numpy()
        theirs = deployed(content, x)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 5e-5 * max(np.abs(ours).max(), 1e-2)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_model_is_read_rightly_and_no_bound_is_below_a_slope(seed: int) -> None:
    made: RandomModel = random_model(seed)
    onnx.checker.check_model(made.model)
    graph = imported(made.content)
    assert graph.sample_shape == made.sample_shape
    assert_same_outputs(graph, made.content, made.sample_shape, 3 if made.batch == "N" else 1)
    verdict = judge(graph, seed)
    assert not verdict.violations, (made.blocks, verdict.violations)
    assert verdict.comparisons > 0


@pytest.mark.parametrize("seed", range(min(60, len(SEEDS))))
def test_methods_keep_their_order(seed: int) -> None:
    """Averaged is never above AutoLip, in value or pairwise; no bound is below the lower one."""
    graph = imported(random_model(seed).content)
    form = fold(graph)
    for norm in NORMS:
        found = applied(form, BoundContext(norm, NormSettings()))
        plain, better = found["autolip"], found["averaged"]
        assert better.value <= plain.value
        assert (better.pairwise() <= plain.pairwise()).all()
        for constants in found.values():
            table = constants.pairwise()
            assert table.shape == (graph.outputs, graph.outputs)
            assert not np.isnan(table).any() and not table.diagonal().any()
            np.testing.assert_allclose(table, table.T, rtol=1e-12)
        lower = lower_bound(graph, norm=norm, seconds=0.02, seed=seed)
        assert math.isfinite(lower)
        assert all(lower <= constants.value for constants in found.values())


@pytest.mark.parametrize("norm", NORMS)
def test_scaling_the_last_layer_scales_the_bound(norm: str) -> None:
    """By powers of two, so that nothing but the outward rounding can differ."""
    seeds = [
        seed for seed in range(60) if random_model(seed).model.graph.node[-2].op_type == "Gemm"
    ]
    assert len(seeds) > 15
    for seed in seeds[:25]:
        model = random_model(seed).model
        last = model.graph.node[-2]
        plain = applied(fold(imported(model.SerializeToString())), BoundContext(norm))
        for power in (-20, -1, 3, 20):
            names = list(last.input[1:])
            scaled = onnx.ModelProto()
            scaled.CopyFrom(model)
            if not _scale_initialisers(scaled, names, 2.0**power):
                continue
            form = fold(imported(scaled.SerializeToString()))
            found = applied(form, BoundContext(norm))
            assert set(found) == set(plain)
            for method, constants in found.items():
                many, one = constants.value, plain[method].value * 2.0**power
                assert many == one or math.isclose(many, one, rel_tol=excess(method)), seed


def _scale_initialisers(model: onnx.ModelProto, names: list[str], factor: float) -> bool:
    found = [tensor for tensor in model.graph.initializer if tensor.name in names]
    for tensor in found:
        array = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return len(found) == len(names)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_imported_and_bounded(name: str) -> None:
    """In each of its written forms: a newcomer to the registry is met here."""
    assert writable(name), "say in bent_blocks.WRITTEN how this activation is written in ONNX"
    checked = 0
    for opset, seed in itertools.product(OPSETS, range(4)):
        made = activation_model(name, opset, np.random.default_rng(seed))
        if made is None:
            continue
        writer, source, output = made
        content = writer.model(source, output, batch="N").SerializeToString()
        graph = imported(content)
        assert_same_outputs(graph, content, source.shape, 4)
        verdict = judge(graph, seed)
        assert not verdict.violations and not verdict.unbounded
        checked += 1
    assert checked


def test_every_block_is_met() -> None:
    """The default number of graphs reaches all of the table."""
    met = {name for seed in range(600) for name in random_model(seed).blocks}
    assert met == set(BLOCKS)


def test_exact_comparisons_are_made() -> None:
    """The rational comparisons are not vacuous."""
    verdicts = [judge(imported(random_model(seed).content), seed) for seed in range(12)]
    assert sum(verdict.exact_comparisons for verdict in verdicts) > 50


def test_judge_sees_a_bound_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: a method that answers a little less than the truth is caught."""
    from lipcert.bounds.result import Constants

    linear = {"gemm", "square_matmul", "matmul_and_add", "shift", "negate", "multiply", "nothing"}
    model = next(made for made in map(random_model, range(1000)) if set(made.blocks) <= linear)
    graph = imported(model.content)
    right = METHODS["autolip"]

    def short(form, context):
        found = right(form, context)
        table = found.pairwise() * (1.0 - 1e-6)
        return Constants(found.value * (1.0 - 1e-6), found.signals, lambda: table)

    monkeypatch.setitem(METHODS._entries, "autolip", short)
    verdict = judge(graph, 0)
    assert any("norm of a Jacobian" in line for line in verdict.violations)
