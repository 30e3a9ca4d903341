"""Bounds against true gradients: what is above its bound, or has none, is never passed over."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators.small_models import onnx_model
from hypothesis import given, settings
from hypothesis import strategies as st

import lipcert
import lipcert.sensitivities.analysis as analysis_module
from lipcert.certification.data import open_dataset
from lipcert.certification.normalization import Normalization
from lipcert.errors import InputError, SoundnessError
from lipcert.onnx_import import build_graph
from lipcert.sensitivities.comparison import ExceededError, compare
from lipcert.sensitivities.gradient_rounding import GradientRounding
from lipcert.sensitivities.groups import noise_groups
from lipcert.sensitivities.input_options import read_inputs
from lipcert.sensitivities.tracing import parameter_uses
from lipcert.sensitivities.truth import gradient_norms

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
    with pytest.raises(ExceededError, match=layers[1].name) as error:
        against(replace(analysis.sensitivities, layers=tuple(layers)), analysis)
    assert (error.value.witness.kind, error.value.witness.name) == ("layer", layers[1].name)


def test_the_witness_is_the_example_as_it_is_and_as_the_model_sees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen again from the witness alone: the model's input, the label, the norm above the bound."""
    honest = analysis_module.sensitivities

    def too_small(*words: Any, **options: Any) -> Any:
        return replace(honest(*words, **options), global_delta=1e-3)

    monkeypatch.setattr(analysis_module, "sensitivities", too_small)
    with pytest.raises(ExceededError) as error:
        lipcert.sensitivity(
            MODEL,
            loss="cross-entropy",
            input_bound="clip:0.5",
            normalize="mean=0.25,std=0.5",
            data=DATA,
            first=20,
        )
    witness = error.value.witness
    assert (witness.kind, witness.name) == ("total", "all parameters")
    assert witness.index == error.value.found.index and witness.bound == 1e-3
    with np.load(DATA) as held:
        assert np.array_equal(witness.sample, held["x"][witness.index].reshape(-1))
        assert witness.label == held["y"][witness.index]
    prepared = (witness.sample.astype(np.float64) - 0.25) / 0.5
    prepared *= 0.5 / np.linalg.norm(prepared)
    np.testing.assert_allclose(witness.model_input, prepared, rtol=1e-11)
    x, label = torch.from_numpy(witness.model_input)[None], torch.from_numpy(witness.label)[None]
    loss = lipcert.sensitivities.losses.parse_loss("cross-entropy").per_example
    again = gradient_norms(lipcert.load(MODEL), loss, x, label)
    assert float(again.total[0]) == pytest.approx(witness.norm, rel=1e-12)
    assert "cross-entropy" in witness.loss


@pytest.mark.parametrize("bound", ["pixels", "3"])
def test_what_a_search_found_is_kept_and_is_a_witness_too(
    bound: str, analysis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"input_bound": bound, "data": DATA, "first": 10, "search": 5}
    if bound == "3":
        options["normalize"] = "mean=0,std=4"
    found = lipcert.sensitivity(MODEL, loss="cross-entropy", **options).comparison
    assert found.steepest.norm == found.searched.norm > found.total.norm
    honest = analysis_module.sensitivities
    between = (found.searched.norm + found.total.norm) / 2.0

    def too_small(*words: Any, **others: Any) -> Any:
        return replace(honest(*words, **others), global_delta=between)

    monkeypatch.setattr(analysis_module, "sensitivities", too_small)
    with pytest.raises(ExceededError, match="an input that the search found") as error:
        lipcert.sensitivity(MODEL, loss="cross-entropy", **options)
    witness = error.value.witness
    assert witness.index is None and witness.norm == found.searched.norm
    assert np.array_equal(witness.model_input, found.steepest.point.numpy())
    std = 4.0 if bound == "3" else 1.0
    np.testing.assert_allclose(witness.sample, witness.model_input * std, rtol=1e-15)


def test_rounding_alone_refutes_nothing_and_more_than_it_does(analysis: Any) -> None:
    """Bounds just inside and just outside of the norm less its rounding."""
    total = against(analysis.sensitivities, analysis).total
    assert 0.0 < total.rounding < 1e-10 * total.norm
    assert total.ratio <= (total.norm - total.rounding) / total.bound
    low = replace(analysis.sensitivities, global_delta=total.least)
    assert against(low, analysis).total.ratio <= 1.0
    lower = math.nextafter(total.least, 0.0)
    with pytest.raises(ExceededError, match="by more than its rounding"):
        against(replace(low, global_delta=lower), analysis)


def exact_chain(w: list[Fraction], x: Fraction) -> Fraction:
    """Squared norm of the gradient of w_1·…·w_n·x in all w, exactly."""
    product = x
    for one in w:
        product *= one
    return sum(((product / one) ** 2 for one in w), Fraction(0))


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_the_rounding_of_a_norm_is_less_than_its_bound(seed: int) -> None:
    """A chain of single weights, in fractions: the error of float64 is below the one claimed."""
    random = np.random.default_rng(seed)
    depth = int(random.integers(2, 8))
    held = {f"w{k}": random.normal(size=(1, 1)) * 2.0 + 0.1 for k in range(depth)}
    steps = [("MatMul", ["x" if not k else f"h{k - 1}", f"w{k}"], f"h{k}") for k in range(depth)]
    model = onnx_model(steps, held, [1, 1])
    graph = build_graph(model, name="chain")
    uses = parameter_uses(graph, model=model)
    x = torch.from_numpy(random.normal(size=(1, 1)))
    found = gradient_norms(graph, first_output, x, torch.zeros(1), uses=uses)
    rounding = GradientRounding(graph, uses, first_output, 1.0).of(x[0], torch.zeros(()))
    weights = [Fraction(float(np.float32(held[f"w{k}"][0, 0]))) for k in range(depth)]
    square = exact_chain(weights, Fraction(float(x)))
    computed, error = Fraction(float(found.total[0])), Fraction(rounding.total)
    assert (computed + error) ** 2 >= square
    assert computed <= error or (computed - error) ** 2 <= square
    assert error <= computed * Fraction(1, 10**11)


def first_output(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return outputs[:, 0]


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_the_rounding_of_every_part_of_a_network(seed: int) -> None:
    """Two layers with biases, in fractions: each parameter's norm is as near as is claimed."""
    random = np.random.default_rng(seed)
    n, m = (int(k) for k in random.integers(1, 5, 2))
    held = {
        "w": random.normal(size=(n, m)),
        "b": random.normal(size=m),
        "v": random.normal(size=(m, 2)),
    }
    held = {name: value.astype(np.float32) for name, value in held.items()}
    steps = [
        ("Gemm", ["x", "w", "b"], "h"),
        ("Relu", ["h"], "r"),
        ("MatMul", ["r", "v"], "y"),
    ]
    model = onnx_model(steps, held, [1, n])
    graph = build_graph(model, name="net")
    uses = parameter_uses(graph, model=model)
    x = random.normal(size=n)
    rational = {k: np.vectorize(Fraction)(a.astype(object)) for k, a in held.items()}
    point = np.array([Fraction(float(one)) for one in x], dtype=object)
    before = point @ rational["w"] + rational["b"]
    passed = np.where(before > 0, rational["v"][:, 0], Fraction(0))
    squares = {
        "w": (passed @ passed) * (point @ point),
        "b": passed @ passed,
        "v": sum((max(one, Fraction(0)) ** 2 for one in before), Fraction(0)),
    }
    batch = torch.from_numpy(x)[None]
    found = gradient_norms(graph, first_output, batch, torch.zeros(1), uses=uses)
    rounding = GradientRounding(graph, uses, first_output, 1.0).of(batch[0], torch.zeros(()))
    for name, square in squares.items():
        computed = Fraction(float(found.parameters[name][0]))
        error = Fraction(rounding.parameters[name])
        assert (computed + error) ** 2 >= square, name
        assert computed <= error or (computed - error) ** 2 <= square, name
        assert error <= computed * Fraction(1, 10**9), name


def test_a_gradient_that_is_not_finite_is_an_error(analysis: Any) -> None:
    with open_dataset(DATA) as dataset:
        first = dataset.first(3)
        graph = lipcert.load(MODEL)
        with pytest.raises(InputError, match="sample 0: its gradient is beyond the range"):
            compare(graph, analysis.sensitivities, overflowing, first, first.y)


def overflowing(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (1e200 * outputs).square().sum(1)


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


@pytest.mark.parametrize("bound", ["5", "clip:5", "pixels"])
def test_prepared_samples_are_inside_the_set_exactly(bound: str) -> None:
    """What rounding left outside by less than 1e-9 is moved in; more is refused."""
    random = np.random.default_rng(5)
    x = random.normal(size=(50, 30))
    x *= 5.0 * (1.0 + 1e-13) / np.linalg.norm(x, axis=1, keepdims=True)
    if bound == "pixels":
        x = random.integers(0, 2, (50, 30)) * (1.0 + 1e-12)
    normalization = Normalization((0.1307,), (0.3081,)) if bound == "pixels" else None
    inputs = read_inputs(bound, (30,), pixels=(0.0, 1.0), normalization=normalization, dataset=None)
    prepared = inputs.prepared(x, (30,))
    for row in prepared:
        square = sum(Fraction(float(one)) ** 2 for one in row)
        assert square <= Fraction(inputs.set.bound) ** 2
    if bound == "pixels":
        low, high = (Fraction(end) for end in (0, 1))
        mean, std = Fraction(0.1307), Fraction(0.3081)
        slack = Fraction(1, 10**14)
        for one in np.unique(prepared):
            assert (low - mean) / std - slack <= Fraction(float(one)) <= (high - mean) / std + slack
    if bound != "clip:5":
        with pytest.raises(InputError, match="lies outside the input set"):
            inputs.prepared(x * (1.0 + 1e-7), (30,))
