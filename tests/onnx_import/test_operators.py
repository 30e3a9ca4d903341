"""Every registered operator, alone in a model with random attributes, against ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from lipcert.errors import LipcertError
from lipcert.nonlinear import Nonlinearity
from lipcert.onnx_import import build_graph
from lipcert.onnx_import.registry import IMPORTERS

REPEATS = 8
TOLERANCE = 1e-5


def test_every_registered_operator_has_a_case(singles):
    assert not set(IMPORTERS) - set(singles.MAKERS)


def test_every_maker_is_used_at_some_version(singles):
    """A maker that no version asks for would prove nothing."""
    for name in singles.MAKERS:
        assert any(singles.exists(name, opset) for opset in versions(singles, name)), name


def versions(singles, name: str) -> tuple[int, ...]:
    """The versions to try; the newest too for operators that are newer than all of them."""
    usual = tuple(opset for opset in singles.OPSETS if singles.exists(name, opset))
    return usual or (onnx.defs.onnx_opset_version(),)


def test_single_operator_agrees(op_type, singles):
    for opset in versions(singles, op_type):
        tried = 0
        for number, make in enumerate(singles.MAKERS[op_type]):
            for repeat in range(REPEATS):
                rng = np.random.default_rng([opset, number, repeat])
                try:
                    single = make(rng, opset)
                except LookupError:
                    break
                tried += 1
                model = singles.model_of(op_type, opset, single, rng)
                check(model, single, rng, f"{op_type} {opset} {number} {repeat}")
        assert tried, f"{op_type} has no case at opset {opset}"


def check(model: onnx.ModelProto, single, rng: np.random.Generator, label: str) -> None:
    note = f"{label}: {single}"
    if single.refused:
        with pytest.raises(LipcertError, match=single.refused) as caught:
            build_graph(model, name="single", input_shape=single.shape)
        assert caught.value.remedy, note
        return
    x = rng.uniform(single.low, single.high, single.shape).astype(np.float32)
    expected = run(model, x, reference=single.reference)
    if not expected.size:
        with pytest.raises(LipcertError, match="empty tensor"):
            build_graph(model, name="single", input_shape=single.shape)
        return
    graph = build_graph(model, name="single", input_shape=single.shape)
    outputs = graph.evaluate(torch.from_numpy(x).double()[None])[0].numpy()
    assert graph.output_shape == expected.shape, note
    largest = max(0.1, np.abs(expected).max(initial=0.0))
    assert np.abs(outputs - expected.reshape(-1)).max(initial=0.0) <= TOLERANCE * largest, note
    constants = [
        node.operation.lipschitz(*(graph.shape_of(value) for value in node.inputs))
        for node in graph.nodes
        if isinstance(node.operation, Nonlinearity)
    ]
    if not single.infinite:
        assert all(math.isfinite(c.l1) and math.isfinite(c.l2) for c in constants), note
    else:
        assert any(math.isinf(c.l2) for c in constants), note


def run(model: onnx.ModelProto, x: np.ndarray, *, reference: bool) -> np.ndarray:
    name = model.graph.input[0].name
    if reference:
        return np.asarray(ReferenceEvaluator(model).run(None, {name: x})[0])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {name: x})[0])
