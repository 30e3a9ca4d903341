"""The sample models of residual families are certified as 1-Lipschitz as exporters wrote them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import lipcert
from lipcert.reports.json_format import inspection_json
from lipcert.reports.markdown import inspection_markdown

SAMPLES = Path(__file__).parents[2] / "sample_models"
LARGEST = {
    "digits_sll_mlp": 30.0,
    "digits_sandwich_mlp": 100.0,
    "digits_cpl_conv": 1.2,
    "digits_liresnet_conv": 0.9,
    "digits_iresnet_conv": 0.9,
}
"""What products of norms are at least."""


@pytest.mark.parametrize("name", LARGEST)
def test_certified_with_the_default_options(name: str) -> None:
    path = SAMPLES / f"{name}.onnx"
    found = lipcert.bound(path, lower_seconds=0.5)
    assert 0.1 < found.lower <= found.value <= 1.001
    assert found.methods["autolip"] > LARGEST[name]


@pytest.mark.parametrize("name", ["digits_sll_mlp", "digits_cpl_conv"])
def test_certified_at_the_cost_of_norms(name: str) -> None:
    found = lipcert.bound(SAMPLES / f"{name}.onnx", method="blocks", lower_seconds=0.0)
    assert 0.9 < found.value <= 1.0


@pytest.mark.parametrize(
    ("name", "blocks", "invertible"),
    [
        ("digits_sll_mlp", 3, False),
        ("digits_cpl_conv", 3, False),
        ("digits_liresnet_conv", 3, False),
        ("digits_iresnet_conv", 2, True),
        ("digits_sandwich_mlp", 0, False),
    ],
)
def test_inspection_tells_which_blocks_are_invertible(
    name: str, blocks: int, invertible: bool
) -> None:
    found = lipcert.inspect(SAMPLES / f"{name}.onnx")
    assert len(found.blocks) == blocks
    assert all(block.is_invertible == invertible for block in found.blocks)
    told = json.loads(inspection_json(found))["blocks"]
    for block, entry in zip(found.blocks, told, strict=True):
        assert entry["norm"] == block.norm
        assert entry["inverse"] == (block.inverse if invertible else None)
        assert f"`{block.name}`" in inspection_markdown(found)
    if invertible:
        assert all(0.85 < block.norm <= 0.9 for block in found.blocks)
        assert all(6.0 < block.inverse <= 10.0 + 1e-6 for block in found.blocks)


def test_training_changed_nothing_that_matters() -> None:
    """The figures of the table are those of the files."""
    data = np.load(SAMPLES / "digits_test_images.npz")
    accuracies = {
        "digits_sll_mlp": 0.967,
        "digits_sandwich_mlp": 0.964,
        "digits_cpl_conv": 0.929,
        "digits_liresnet_conv": 0.918,
        "digits_iresnet_conv": 0.922,
    }
    x = torch.from_numpy(data["x"]).double()
    for name, accuracy in accuracies.items():
        graph = lipcert.load(SAMPLES / f"{name}.onnx")
        logits = graph.evaluate(x.reshape(len(x), *graph.sample_shape)).numpy()
        right = float((logits.argmax(1) == data["y"]).mean())
        assert right == pytest.approx(accuracy, abs=6e-4)
