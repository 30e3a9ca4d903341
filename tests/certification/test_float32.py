"""Radii for float32: what real arithmetic certifies and float32 does not keep, and what it keeps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import lipcert
from lipcert.certification.normalization import Normalization
from lipcert.certifying.surroundings import counterparts
from lipcert.checker.importing import network_of
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read
from lipcert.errors import InputError, UnsupportedError


def exported(module: nn.Module, size: int, path: Path) -> Path:
    torch.onnx.export(module.eval(), torch.zeros(1, size), path, dynamo=False, opset_version=17)
    return path


def dense(*pairs: tuple[object, object]) -> nn.Sequential:
    """Linear layers of given weights and biases."""
    layers = []
    for weight, bias in pairs:
        w = torch.tensor(weight, dtype=torch.float32)
        layer = nn.Linear(w.shape[1], w.shape[0])
        with torch.no_grad():
            layer.weight.copy_(w)
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float32))
        layers.append(layer)
    return nn.Sequential(*layers)


def ordered(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``W x + b`` in float32, terms added one after another in an order, the bias last."""
    products = (weight * x[None, :]).astype(np.float32)
    total = np.zeros(len(weight), dtype=np.float32)
    for place in order:
        total = total + products[:, place]
    return total + bias


def both(path: Path, x: object, y: object, **options: object) -> lipcert.Certificates:
    data = (np.asarray(x, dtype=np.float32), np.asarray(y))
    return lipcert.certify(path, data, semantics="float32", time_limit=2.0, **options)


HUGE = 2.0**26


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-5, 1e6])
def test_bias_that_swallows_bits_is_not_certified(scale: float, tmp_path: Path) -> None:
    """Two logits get the same huge bias and lose it again: float32 keeps nothing of x."""
    first = ([[scale], [-scale]], [HUGE * scale, HUGE * scale])
    second = ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [-HUGE * scale, -HUGE * scale, -1e4 * scale])
    module = dense(first, second)
    path = exported(module, 1, tmp_path / "m.onnx")
    found = both(path, [[1.0], [1.0]], [0, 0])
    assert (found.real_radii > 0.9).all()
    real = lipcert.certify(path, (np.ones((1, 1), dtype=np.float32), np.array([0])))
    assert real.radii[0] > 0.9
    assert (found.radii == 0.0).all()
    out = module(torch.tensor([[0.5]])).detach().numpy()[0]
    assert not out[0] > out[1]  # inside the radius of real arithmetic


def test_a_sum_whose_order_decides_is_not_certified(tmp_path: Path) -> None:
    """``2^25 + 1 + 1 − 2^25``: 2, or 0 where the small terms come one by one after the large."""
    weight = [[2.0**25, 1.0, 1.0, -(2.0**25)], [0.0, 0.0, 0.0, 0.0]]
    path = exported(dense((weight, [0.0, 1.0])), 4, tmp_path / "m.onnx")
    x = np.ones((1, 4), dtype=np.float32)
    for label in (0, 1):
        assert (both(path, x, [label]).radii == 0.0).all()
    w, b = np.array(weight, dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32)
    classes = {ordered(w, b, x[0], np.array(o)).argmax() for o in ([0, 1, 2, 3], [0, 3, 1, 2])}
    assert classes == {0, 1}


def test_ties_and_what_overflows_have_no_radius(tmp_path: Path) -> None:
    tie = exported(dense(([[1.0], [1.0]], [0.0, 0.0])), 1, tmp_path / "tie.onnx")
    assert (both(tie, [[1.0]], [0]).radii == 0.0).all()
    large = dense(([[1e30], [-1e30]], [0.0, 0.0]), ([[1e10, 0.0], [0.0, 1e10]], [0.0, 0.0]))
    path = exported(large, 1, tmp_path / "large.onnx")
    raw = np.array([[1e-3]], dtype=np.float32)
    found = lipcert.certify(path, (raw * 1e-4, np.array([0])), semantics="float32")
    assert (found.radii <= found.real_radii).all()
    assert (found.radii < 1e-1).all()  # from there on a value is beyond the largest float32


@pytest.mark.parametrize("scale", [1e-42, 1e-44])
def test_denormals_cost_what_they_lose(scale: float, tmp_path: Path) -> None:
    path = exported(dense(([[scale], [-scale]], [0.0, 0.0])), 1, tmp_path / "m.onnx")
    found = both(path, [[0.3]], [0])
    assert found.real_radii[0] > 0.29
    assert found.radii[0] < found.real_radii[0] * 0.95


@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_summation_changes_a_class_inside_a_radius(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    module = nn.Sequential(nn.Linear(40, 24), nn.ReLU(), nn.Linear(24, 4))
    with torch.no_grad():  # a large common part that cancels, so that rounding is seen
        module[0].bias += 3000.0
        module[2].bias -= module[2](torch.full((24,), 3000.0)) - module[2].bias
    path = exported(module, 40, tmp_path / "m.onnx")
    x = random.normal(size=(60, 40)).astype(np.float32)
    y = lipcert.certify(path, (x, np.zeros(60, dtype=int)), time_limit=1.0).predictions
    found = both(path, x, y)
    assert (found.radii <= found.real_radii).all()
    assert np.count_nonzero(found.radii) > 0 and (found.radii < found.real_radii).any()
    w1, b1, w2, b2 = (p.detach().numpy() for p in module.parameters())
    tried = 0
    for sample, label, radius in zip(x, y, found.radii, strict=True):
        if radius == 0.0:
            continue
        for _ in range(6):
            step = random.normal(size=40)
            point = (sample + step / np.linalg.norm(step) * radius * 0.999).astype(np.float32)
            if not np.linalg.norm(point.astype(float) - sample) < radius:
                continue
            hidden = np.maximum(ordered(w1, b1, point, random.permutation(40)), 0)
            out = ordered(w2, b2, hidden, np.argsort(-np.abs(hidden)))
            assert (out[label] > np.delete(out, label)).all()
            tried += 1
    assert tried > 20


def test_workers_and_norms_and_normalisation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = exported(nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)), 9, tmp_path / "m")
    x = np.random.default_rng(0).normal(size=(300, 9)).astype(np.float32)
    y = lipcert.certify(path, (x, np.zeros(300, dtype=int))).predictions
    np.savez(tmp_path / "d.npz", x=x, y=y)
    alone, shared = (
        lipcert.certify(path, tmp_path / "d.npz", semantics="float32", workers=n) for n in (0, 2)
    )
    assert alone.radii.tobytes() == shared.radii.tobytes()
    assert alone.real_radii.tobytes() == shared.real_radii.tobytes()
    for norm in ("l1", "linf"):
        other = lipcert.certify(path, tmp_path / "d.npz", semantics="float32", norm=norm)
        assert (other.radii <= other.real_radii).all() and other.radii.any()
    given = {"normalize": "mean=0.1,std=0.5"}
    scaled = lipcert.certify(path, tmp_path / "d.npz", semantics="float32", **given)
    real = lipcert.certify(path, tmp_path / "d.npz", **given)
    assert scaled.real_radii.tobytes() == real.radii.tobytes()
    assert (scaled.radii <= real.radii).all() and scaled.radii.any()
    assert scaled.certified == () and scaled.semantics == "float32"


def test_attacked_and_resumed_and_dead_ends(tmp_path: Path) -> None:
    """A journal gives the same; ONNX Runtime as the file says refutes nothing inside a radius."""
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3))
    path = exported(module, 9, tmp_path / "m.onnx")
    model = onnx.load(path)
    output = model.graph.output[0].name
    model.graph.node.append(onnx.helper.make_node("Neg", [output], ["unread"]))
    model.graph.node.append(onnx.helper.make_node("Relu", ["unread"], ["unread_too"]))
    onnx.save(model, path)
    x = np.random.default_rng(0).normal(size=(80, 9)).astype(np.float32)
    y = lipcert.certify(path, (x, np.zeros(80, dtype=int))).predictions
    np.savez(tmp_path / "d.npz", x=x, y=y)
    first, again = (
        lipcert.certify(
            path,
            tmp_path / "d.npz",
            eps=["0.1", "2"],
            semantics="float32",
            attack=lipcert.AttackSettings(10, 1, 0),
            resume=tmp_path / "journal",
        )
        for _ in range(2)
    )
    assert first.radii.tobytes() == again.radii.tobytes()
    assert first.real_radii.tobytes() == again.real_radii.tobytes()
    assert first.rounded == 0
    assert (first.adversarial >= first.radii).all() and np.isfinite(first.adversarial).any()
    with pytest.raises(InputError, match="another run: it differs in semantics"):
        lipcert.certify(
            path,
            tmp_path / "d.npz",
            eps=["0.1", "2"],
            attack=lipcert.AttackSettings(10, 1, 0),
            resume=tmp_path / "journal",
        )


def test_names_stand_for_the_same_values(tmp_path: Path) -> None:
    """A value that lipcert and the checker call alike is the same, behind a normalisation too."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    path = exported(module, 6, tmp_path / "m.onnx")
    norm = Normalization((0.25,), (0.5,))
    graph = norm.before(lipcert.load(path))
    network = network_of(
        read(path.read_bytes(), path.parent), ((Fraction(1, 4),), (Fraction(1, 2),))
    )
    names = counterparts(graph, network)
    assert set(names) == set(network.makers)
    x = np.random.default_rng(0).normal(size=(1, 6))
    values = forward(network, rows_of(x))
    batch = torch.from_numpy(x)
    for name, own in names.items():
        rows = values[name]
        theirs = graph.ending_at(own).evaluate(batch).numpy().reshape(-1)
        ours = np.ldexp(rows.mantissa[0].astype(float), rows.exponent).reshape(-1)
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-9), name


def test_what_is_not_covered_is_refused(tmp_path: Path) -> None:
    path = exported(
        nn.Sequential(nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 2)), 4, tmp_path / "m"
    )
    with pytest.raises(UnsupportedError, match="--semantics real"):
        both(path, np.zeros((2, 4)), [0, 1])
    with pytest.raises(InputError, match="semantics"):
        lipcert.certify(path, (np.zeros((2, 4)), np.array([0, 1])), semantics="float16")
