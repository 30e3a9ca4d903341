"""Sensitivities made by hand, with numbers that rounding to nearest would put on the wrong side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lipcert.sensitivities.analysis import Analysis
from lipcert.sensitivities.comparison import Comparison, Largest
from lipcert.sensitivities.losses import make_loss
from lipcert.sensitivities.privacy.result import LayerNoise, PrivacyResult
from lipcert.sensitivities.result import (
    LayerSensitivity,
    ParameterSensitivity,
    Sensitivities,
)

VERSIONS = {"python": "3.11.7", "lipcert": "0.1.0", "torch": "2.13.0"}
DIGEST = "0123456789abcdef" * 4


def _layers() -> tuple[LayerSensitivity, ...]:
    kernel = ParameterSensitivity("conv.weight", (8, 3, 3, 3), 30.0000001)
    bias = ParameterSensitivity("conv.bias", (8,), 0.0123456789)
    head = ParameterSensitivity("head.weight", (10, 128), 40.0)
    return (
        LayerSensitivity("conv", "Conv", 8.0000004, 12.5, 30.0000027, (kernel, bias), "pixels", "suffix"),
        LayerSensitivity("head", "Gemm", 19.25, 1.4142135624, 40.0, (head,), "slope", "loss"),
    )  # fmt: skip


@pytest.fixture
def plain_analysis() -> Analysis:
    """Without data, privacy and tightenings."""
    layers = _layers()
    found = Sensitivities(
        model="net.onnx",
        model_sha256=DIGEST,
        loss="cross-entropy with τ = 1",
        loss_lipschitz=1.4142135624,
        input_bound=8.0000004,
        input_kind="pixels in [0, 1]",
        is_private=True,
        global_delta=50.123456789012,
        layers=layers,
        parameters=tuple(one for layer in layers for one in layer.parameters),
        plain_delta=50.123456789012,
        device="cpu",
        seconds=1.25,
        versions=VERSIONS,
    )
    return Analysis(found, make_loss("custom", {"constant": 1.0}))


@pytest.fixture
def analysis(plain_analysis: Analysis) -> Analysis:
    """Everything that a result can tell."""
    gains = {"affine": 50.2, "head": 62.65432, "suffix": 50.123456789012, "usage": 5012.3}
    found = replace(plain_analysis.sensitivities, plain_delta=701.25, gains=gains)
    noise = tuple(
        LayerNoise(name, delta, size, 55.1357924, 0.861496757)
        for name, delta, size in (("conv", 30.0000027, 224), ("head", 40.0, 1280))
    )
    privacy = PrivacyResult(
        epsilon=3.9999971234,
        delta=1e-5,
        noise_multiplier=1.1000000009,
        effective_multiplier=1.1,
        sensitivity=50.123456789012,
        sampling_rate=0.04751299183370453,
        steps=43,
        batch_size=64,
        dataset_size=1347,
        adjacency="add-remove",
        accountant="rdp",
        allocation="global",
        target_epsilon=4.0,
        layers=noise,
        assumptions=("Noise is drawn anew at every step.", "Warning: delta is large."),
        orders=(2, 3),
        interval=None,
        relation="ADD_OR_REMOVE_ONE",
    )
    comparison = Comparison(
        "digits",
        450,
        Largest("all parameters", 13.6, 50.123456789012, 64, 1e-12),
        (Largest("conv", 6.66666666, 30.0000027, 64, 1e-12), Largest("head", 10.0, 40.0, 7, 0.0)),
        (
            Largest("conv.weight", 6.6, 30.0000001, 64, 1e-12),
            Largest("conv.bias", 0.0123456789, 0.0123456789, 64, 1e-15),
            Largest("head.weight", 10.0, 40.0, 7, 0.0),
        ),
        Largest("all parameters, by search", 23.2, 50.123456789012, None, 1e-12),
        left_out=("gate.scale",),
    )
    return replace(plain_analysis, sensitivities=found, privacy=privacy, comparison=comparison)


@pytest.fixture
def data_only(analysis: Analysis) -> Analysis:
    """Bounds that rest on the data's own norms."""
    found = replace(analysis.sensitivities, is_private=False, input_kind="largest norm in the data")
    return replace(analysis, sensitivities=found)


@pytest.fixture
def wordy_analysis(data_only: Analysis) -> Analysis:
    """Names as exporters make them, and the longest of the arguments."""
    found = data_only.sensitivities
    names = {
        "conv": "model/preprocess_norm_scale/convolution_1/MatMul",
        "head": "model/postprocess_filter_std_clip/MatMul",
        "conv.weight": "model/preprocess_norm_scale/MatMul/ReadVariableOp:0",
    }
    layers = tuple(
        replace(
            layer,
            name=names[layer.name],
            how_X="largest norm in the data",
            how_G="suffix to the head (averaged)",
            X=123456.7891,
            parameters=tuple(
                replace(one, name=names.get(one.name, one.name)) for one in layer.parameters
            ),
        )
        for layer in found.layers
    )
    compared = data_only.comparison
    assert compared is not None
    return replace(
        data_only,
        sensitivities=replace(
            found,
            layers=layers,
            parameters=tuple(one for layer in layers for one in layer.parameters),
        ),
        comparison=replace(
            compared,
            layers=tuple(replace(one, name=names[one.name]) for one in compared.layers),
            parameters=(),
        ),
    )
