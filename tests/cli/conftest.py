"""Small ONNX models, data for them, and a way to run the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from lipcert_cli.main import cli
from onnx import TensorProto, helper, numpy_helper

import lipcert.api

Run = Callable[..., Result]
SIZES = (4, 6, 3)
"""Inputs, hidden units and classes of the small classifier."""


def saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, np.ndarray],
    *,
    inputs: Mapping[str, list[int | str]],
    outputs: Mapping[str, list[int | str]],
) -> Path:
    def values(shapes: Mapping[str, list[int | str]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ]

    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "small", values(inputs), values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def dense(seed: int, *sizes: int) -> dict[str, np.ndarray]:
    """Weights and biases of a chain of dense layers."""
    random = np.random.default_rng(seed)
    weights = {}
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        scale = 1.0 / np.sqrt(fan_in)
        weights[f"w{index}"] = (random.normal(size=(fan_in, fan_out)) * scale).astype(np.float32)
        weights[f"b{index}"] = random.normal(size=fan_out).astype(np.float32)
    return weights


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    """Gemm, Relu, Gemm: four numbers to three logits, dynamic batch."""
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], name="fc0"),
        helper.make_node("Relu", ["h"], ["a"], name="relu"),
        helper.make_node("Gemm", ["a", "w1", "b1"], ["logits"], name="fc1"),
    ]
    ends = {"inputs": {"x": ["n", SIZES[0]]}, "outputs": {"logits": ["n", SIZES[-1]]}}
    return saved(tmp_path / "mlp.onnx", nodes, dense(1, *SIZES), **ends)


@pytest.fixture
def image_net(tmp_path: Path) -> Path:
    """Flatten and Gemm on 2×5×5 images, channels first."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w0", "b0"], ["logits"], name="fc"),
    ]
    ends = {"inputs": {"x": ["n", 2, 5, 5]}, "outputs": {"logits": ["n", 3]}}
    return saved(tmp_path / "image.onnx", nodes, dense(2, 50, 3), **ends)


@pytest.fixture
def unbounded(tmp_path: Path) -> Path:
    """The product of two signals: no finite bound."""
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], name="fc"),
        helper.make_node("Mul", ["h", "x"], ["y"], name="gate"),
    ]
    ends = {"inputs": {"x": ["n", 4]}, "outputs": {"y": ["n", 4]}}
    return saved(tmp_path / "unbounded.onnx", nodes, dense(3, 4, 4), **ends)


@pytest.fixture
def data(tmp_path: Path, mlp: Path) -> Path:
    """Twenty samples for ``mlp``, labelled with its own predictions but for the last."""
    x = np.random.default_rng(4).normal(size=(20, SIZES[0])).astype(np.float32)
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(mlp).graph.initializer}
    hidden = np.maximum(x @ weights["w0"] + weights["b0"], 0.0)
    y = (hidden @ weights["w1"] + weights["b1"]).argmax(1)
    y[-1] = (y[-1] + 1) % SIZES[-1]
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """``run("bound", model, "--norm", "l1")``, in an empty environment and its own folder.

    The search for a lower bound is cut short.
    """
    search = lipcert.api.lower_bound

    def quick(*args: Any, **options: Any) -> float:
        return search(*args, **{**options, "seconds": 0.05})

    monkeypatch.setattr(lipcert.api, "lower_bound", quick)
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*words: object, **environment: str) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], env=environment)

    return invoke
