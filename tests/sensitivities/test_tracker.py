"""Tracked sensitivities are those of a fresh import of the model as it is now."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import lipcert
from lipcert.onnx_import import parse_model
from lipcert.onnx_import.followed import FollowedModule
from lipcert.onnx_import.modules import export_module
from lipcert.onnx_import.rebinding import Rebinding
from lipcert.onnx_import.sameness import are_same
from lipcert.sensitivities.result import Sensitivities

OWN = ("model_sha256", "seconds")
"""What a rebound model does not have, and what differs between runs."""


def seeded(*layers: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(len(layers))
    model = nn.Sequential(*layers).eval()
    move(model, 0.3, generator)
    return model


def move(model: nn.Module, size: float = 0.05, generator: torch.Generator | None = None) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((size * noise).to(parameter.dtype))


def dense() -> nn.Module:
    return seeded(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3))


def convolutional() -> nn.Module:
    return seeded(
        nn.Conv2d(1, 4, 3, padding=1, groups=1),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )


class Reused(nn.Module):
    """One layer applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
        self.gain = 1.5

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.gain * torch.relu(self.layer(torch.relu(self.layer(x)))))


class Folded(Reused):
    """The exporter makes a transposed copy of one weight that it also keeps as it is."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.layer(x))[:, None, :] @ self.layer.weight.t()
        return self.last(h[:, 0])


class Branching(Reused):
    """What it computes depends on a weight's sign."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        return self.last(h if float(self.layer.weight[0, 0]) > 0.0 else torch.relu(h))


class Measured(Reused):
    """A number computed from a weight is a constant of the trace."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.layer(x)) * float(self.layer.weight.norm()))


def fresh(model: nn.Module, shape: tuple[int, ...]) -> Sensitivities:
    return lipcert.sensitivity(
        model, loss="cross-entropy", input_bound=2.0, input_shape=shape, tightest=False
    ).sensitivities


def tracked(model: nn.Module, shape: tuple[int, ...]) -> lipcert.SensitivityTracker:
    return lipcert.SensitivityTracker(
        model, loss="cross-entropy", input_bound=2.0, input_shape=shape
    )


def assert_equal(found: Sensitivities, expected: Sensitivities) -> None:
    for field in fields(found):
        if field.name not in OWN:
            assert getattr(found, field.name) == getattr(expected, field.name), field.name


@pytest.mark.parametrize(
    ("make", "shape"),
    [(dense, (6,)), (convolutional, (1, 6, 6)), (Reused, (6,))],
    ids=["dense", "convolutional", "reused"],
)
def test_weights_that_change_are_followed_without_an_import(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    model = make().eval()
    tracker = tracked(model, shape)
    values = set()
    for _ in range(5):
        found = tracker.update().sensitivities
        assert_equal(found, fresh(model, shape))
        values.add(found.global_delta)
        move(model)
    assert tracker.imports == 1 and len(values) == 5


@pytest.mark.parametrize("make", [Folded, Branching, Measured])
def test_what_depends_on_weights_otherwise_is_imported_again(make: type[nn.Module]) -> None:
    torch.manual_seed(3)
    model = make().eval()
    follower = FollowedModule(model, (6,))
    for step in range(4):
        expected = lipcert.load(model, input_shape=(6,))
        found = follower.graph()
        assert [are_same(a, b) for a, b in zip(found.nodes, expected.nodes, strict=True)] == (
            [True] * len(found.nodes)
        )
        move(model, 0.4)
        assert follower.imports == step + 1


def test_a_bit_in_a_weight_is_noticed() -> None:
    model = dense()
    tracker = tracked(model, (6,))
    tracker.update()
    move(model)
    before = tracker.update().sensitivities
    assert tracker.update().sensitivities is before
    with torch.no_grad():
        model[4].weight[0, 0] *= 4.0
    after = tracker.update().sensitivities
    assert after.global_delta != before.global_delta
    assert_equal(after, fresh(model, (6,)))


def test_changes_of_structure_are_noticed() -> None:
    model = Reused().eval()
    tracker = tracked(model, (6,))
    for change in (
        lambda: setattr(model, "gain", 2.5),
        lambda: setattr(model, "last", nn.Linear(6, 4)),
        lambda: setattr(model, "last", nn.Sequential(nn.Linear(6, 4), nn.Sigmoid())),
        lambda: setattr(model, "layer", nn.Linear(6, 6, bias=False)),
        lambda: model.double(),
        lambda: model.last.register_forward_hook(lambda module, inputs, output: 3.0 * output),
    ):
        tracker.update()
        move(model)
        tracker.update()
        imports = tracker.imports
        change()
        assert_equal(tracker.update().sensitivities, fresh(model, (6,)))
        assert tracker.imports == imports + 1


def test_statistics_and_frozen_parts_are_noticed() -> None:
    model = seeded(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    tracker = tracked(model, (6,))
    for _ in range(3):
        assert_equal(tracker.update().sensitivities, fresh(model, (6,)))
        move(model)
    last = tracker.update().sensitivities
    model[1].running_var.mul_(4.0)
    found = tracker.update().sensitivities
    assert_equal(found, fresh(model, (6,)))
    assert found.global_delta != last.global_delta


def test_a_parameter_replaced_by_another_tensor_is_read_anew() -> None:
    model = dense()
    tracker = tracked(model, (6,))
    for _ in range(3):
        tracker.update()
        model[0].weight = nn.Parameter(model[0].weight.detach() * 1.5)
    assert_equal(tracker.update().sensitivities, fresh(model, (6,)))


def test_training_mode_and_bad_weights_are_refused() -> None:
    model = dense()
    tracker = tracked(model, (6,))
    tracker.update()
    model.train()
    with pytest.raises(lipcert.InputError, match="training mode"):
        tracker.update()
    model.eval()
    move(model)
    tracker.update()
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    with pytest.raises(lipcert.LipcertError):
        tracker.update()
    with torch.no_grad():
        model[0].weight[0, 0] = 0.5
    assert_equal(tracker.update().sensitivities, fresh(model, (6,)))


def test_a_file_written_again_is_read_again(tmp_path: Path) -> None:
    model, path = dense(), tmp_path / "net.onnx"
    path.write_bytes(export_module(model, (6,)))
    tracker = lipcert.SensitivityTracker(path, loss="cross-entropy", input_bound=2.0)
    for _ in range(4):
        found = tracker.update().sensitivities
        again = lipcert.sensitivity(path, loss="cross-entropy", input_bound=2.0, tightest=False)
        assert found.model_sha256 == again.sensitivities.model_sha256
        assert_equal(found, again.sensitivities)
        move(model)
        path.write_bytes(export_module(model, (6,)))
    assert tracker.imports == 1
    path.write_bytes(export_module(convolutional(), (1, 6, 6)))
    tracker.update()
    assert tracker.imports == 2


def test_wide_layers_are_proved_from_a_warm_start() -> None:
    """Beyond side 128 estimates begin at the last eigenvectors: bounds stay above the truth."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(160, 150), nn.ReLU(), nn.Linear(150, 140)).eval()
    tracker = tracked(model, (160,))
    for size in (0.0, 0.01, 1.0):  # the last leaves nothing of the first eigenvectors
        move(model, size)
        found = tracker.update().sensitivities
        expected = fresh(model, (160,))
        assert math.isclose(found.global_delta, expected.global_delta, rel_tol=1e-7)
        first = model[0].weight.detach().double()
        last = model[2].weight.detach().double()
        gradient = math.sqrt(2.0) * float(torch.linalg.matrix_norm(last, 2))
        assert found.layers[0].G / gradient <= 1.0 + 1e-8
        reach = tracker._memory.norms.values()
        norms = sorted(bound.value for operator, bound in reach if "Dense" in repr(operator))
        truth = sorted(float(torch.linalg.matrix_norm(w, 2)) for w in (first, last))
        assert all(b >= t for b, t in zip(norms, truth, strict=True))


def test_privacy_is_accounted_for_where_asked() -> None:
    run = lipcert.PrivacySettings(
        batch_size=8, dataset_size=100, steps=5, delta=1e-4, noise_multiplier=1.0
    )
    tracker = tracked(dense(), (6,))
    with_it, without = tracker.update(privacy=run), tracker.update()
    assert with_it.privacy is not None and without.privacy is None
    assert with_it.sensitivities is without.sensitivities


def test_only_coefficients_as_they_are_can_be_exchanged() -> None:
    model = seeded(nn.Linear(6, 5), nn.PReLU(), nn.LayerNorm(5), nn.Linear(5, 3))
    parsed = parse_model(export_module(model, (6,)), "net")
    graph = lipcert.load(model, input_shape=(6,))
    names = set(Rebinding.of(graph, parsed).values)
    assert names == {"0.weight", "0.bias", "3.weight", "3.bias"}
