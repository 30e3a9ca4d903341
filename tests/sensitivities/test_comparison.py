"""Bounds against true gradients: what is above its bound, or has none, is never passed over."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lipcert
from lipcert.certification.data import open_dataset
from lipcert.errors import SoundnessError
from lipcert.sensitivities.comparison import ExceededError, compare
from lipcert.sensitivities.groups import noise_groups

SAMPLES = Path(__file__).parents[2] / "sample_models"
MODEL, DATA = SAMPLES / "digits_relu_mlp.onnx", SAMPLES / "digits_test.npz"


@pytest.fixture(scope="module")
def analysis() -> Any:
    return lipcert.sensitivity(MODEL, loss="cross-entropy", input_bound="pixels")


def against(sensitivities: Any, analysis: Any, **options: Any) -> Any:
    with open_dataset(DATA) as dataset:
        first = dataset.first(40)
        graph = lipcert.load(MODEL)
        loss = analysis.loss.per_example
        return compare(graph, sensitivities, loss, first, first.y, **options)


def test_every_layer_and_parameter_is_compared(analysis: Any) -> None:
    found = against(analysis.sensitivities, analysis)
    assert [one.name for one in found.layers] == [x.name for x in analysis.sensitivities.layers]
    assert {one.name for one in found.parameters} == {
        one.name for one in analysis.sensitivities.parameters
    }
    assert all(0 < one.ratio <= 1 for one in (found.total, *found.layers, *found.parameters))
    assert found.searched is None


def test_a_bound_that_is_too_small_is_found(analysis: Any) -> None:
    true = against(analysis.sensitivities, analysis)
    low = replace(analysis.sensitivities, global_delta=0.999 * true.total.norm)
    with pytest.raises(ExceededError, match="all parameters: the gradient norm") as error:
        against(low, analysis)
    assert error.value.found.index == true.total.index
    layers = list(analysis.sensitivities.layers)
    layers[1] = replace(layers[1], delta=0.999 * true.layers[1].norm)
    with pytest.raises(ExceededError, match=layers[1].name):
        against(replace(analysis.sensitivities, layers=tuple(layers)), analysis)


def test_a_parameter_without_a_bound_is_found(analysis: Any) -> None:
    some = replace(analysis.sensitivities, parameters=analysis.sensitivities.parameters[1:])
    with pytest.raises(SoundnessError, match="is a parameter and has no sensitivity"):
        against(some, analysis)


def test_frozen_parameters_are_left_out() -> None:
    whole = lipcert.sensitivity(
        MODEL, loss="cross-entropy", input_bound="pixels", data=DATA, first=20
    )
    name = whole.sensitivities.parameters[0].name
    found = lipcert.sensitivity(
        MODEL, loss="cross-entropy", input_bound="pixels", data=DATA, first=20, frozen=[name]
    )
    assert name not in {one.name for one in found.comparison.parameters}
    assert found.comparison.total.norm < whole.comparison.total.norm
    assert found.sensitivities.global_delta < whole.sensitivities.global_delta


def test_groups_hold_every_parameter_once(analysis: Any) -> None:
    found = analysis.sensitivities
    groups = noise_groups(found)
    assert [group.name for group in groups] == [layer.name for layer in found.layers]
    sizes = [math.prod(one.shape) for one in found.parameters]
    assert sum(group.parameters for group in groups) == sum(sizes)
    total = sum(group.delta**2 for group in groups) ** 0.5
    assert total == pytest.approx(found.global_delta, rel=1e-12)


def test_layers_that_share_a_parameter_are_one_group(analysis: Any) -> None:
    found = analysis.sensitivities
    first, *rest, last = found.layers
    tied = replace(last, parameters=(*last.parameters, first.parameters[0]))
    groups = noise_groups(replace(found, layers=(first, *rest, tied)))
    assert len(groups) == len(found.layers) - 1
    assert groups[0].name == f"{first.name}+{tied.name}"
