"""Float32 evaluations in adversarial orders stay within the bounds told for them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from making import f32, model, node
from torch import nn

from lipcert.checker.float32 import rounding
from lipcert.checker.importing import network_of
from lipcert.checker.proof import Checker
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read


def exported(module, shape, path):
    torch.onnx.export(module.eval(), torch.zeros(1, *shape), path, dynamo=False, opset_version=17)
    return network_of(read(path.read_bytes(), path.parent))


def ordered_sum(products, order):
    """float32 products added one after another."""
    total = np.zeros(products.shape[0], dtype=np.float32)
    for place in order:
        total = (total + products[:, place]).astype(np.float32)
    return total


def dense32(weight, bias, x, order):
    products = (weight * x[None, :]).astype(np.float32)
    return (ordered_sum(products, order) + bias).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e4])
def test_any_order_of_summation_is_covered(seed, scale, tmp_path):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(60, 30), nn.ReLU(), nn.Linear(30, 5))
    module[0].weight.data *= scale
    module[0].bias.data *= 100.0 * scale
    network = exported(module, (60,), tmp_path / "m.onnx")
    checker = Checker(network)
    checker.run([])
    x = np.random.default_rng(seed).normal(size=(1, 60)).astype(np.float32)
    rows = rows_of(x)
    logits = forward(network, rows)[network.logits]
    true = np.ldexp(logits.mantissa[0].astype(float), logits.exponent)
    best = np.array([true.argmax()])
    cost, off = rounding(network, rows, checker.known, np.zeros(1), best)
    farther, _ = rounding(network, rows, checker.known, np.ones(1), best)
    assert (farther > cost).all()
    w1, b1, w2, b2 = (p.detach().numpy() for p in module.parameters())
    worst = 0.0
    for order in (np.arange(60), np.argsort(x[0] * w1[0]), np.argsort(-np.abs(x[0] * w1[0]))):
        hidden = np.maximum(dense32(w1, b1, x[0], order), 0)
        out = dense32(w2, b2, hidden, np.argsort(hidden))
        wrong = out - true
        slack = 2.0 * float(logits.radius[0])
        assert (np.abs(wrong) <= off[0] + slack).all()
        closer = np.abs(wrong - wrong[best])
        assert (closer <= cost[0] + slack).all()
        worst = max(worst, float((closer / cost[0]).max()))
    assert worst > 1e-3


def test_bias_that_swallows_bits_is_told(tmp_path):
    """A huge bias that cancels later costs float32 what real arithmetic keeps."""
    module = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    with torch.no_grad():
        for layer, bias in zip((module[0], module[1]), (2.0**30, -(2.0**30)), strict=True):
            layer.weight.fill_(1.0)
            layer.bias.fill_(bias)
    network = exported(module, (1,), tmp_path / "m.onnx")
    checker = Checker(network)
    checker.run([])
    rows = rows_of(np.array([[1.0]]))
    cost, off = rounding(network, rows, checker.known, np.zeros(1), np.zeros(1, dtype=int))
    assert cost[0, 0] > 1.0 and off[0] > 1.0
    assert module(torch.ones(1, 1)).item() == 0.0


def bounds_of(network, x, reach):
    """Bounds for samples, by gains alone."""
    checker = Checker(network)
    checker.run([])
    rows = rows_of(x)
    best = forward(network, rows)[network.logits].mantissa.argmax(1)
    return rounding(network, rows, checker.known, reach, best)[0], best


def test_what_is_surely_off_costs_nothing(tmp_path):
    """A hidden neuron with huge terms counts once a perturbation may switch it on."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight[0] *= 1e4
        module[0].bias[0] = -1e6
    network = exported(module, (20,), tmp_path / "m.onnx")
    x = np.random.default_rng(0).normal(size=(1, 20)).astype(np.float32)
    size = float(module[0].weight[0].norm())
    small, large = (bounds_of(network, x, np.array([r * 1e6 / size]))[0].max() for r in (0.5, 1.5))
    assert small < 1e-3
    assert large > 1e-2


def test_classes_beyond_the_nearest_have_a_bound(tmp_path):
    """More classes than are followed one by one: the others have one that is no smaller."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 40))
    network = exported(module, (12,), tmp_path / "m.onnx")
    x = np.random.default_rng(1).normal(size=(3, 12)).astype(np.float32)
    reach = np.full(3, 1e-3)
    cost, best = bounds_of(network, x, reach)
    logits = forward(network, rows_of(x))[network.logits].mantissa
    order = np.argsort(-logits, 1)
    assert (order[:, 0] == best).all()
    near, far = (
        np.take_along_axis(cost, order[:, part], 1) for part in (slice(1, 17), slice(17, 40))
    )
    assert np.isfinite(cost).all() and (near > 0.0).all()
    assert near.mean() < far.mean()


def test_overflow_and_far_samples_have_no_bound(tmp_path):
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        module[0].weight.fill_(2.0**100)
        module[2].weight.fill_(2.0**20)
    network = exported(module, (1,), tmp_path / "m.onnx")
    x = np.array([[1.0], [2.0**10], [1.0], [1.0]])
    cost, _ = bounds_of(network, x, np.array([0.5, 0.5, 2.0**41, np.nan]))
    assert np.isfinite(cost[0]).all()
    assert np.isinf(cost[1:]).all()


def test_one_sample_has_the_bound_that_it_has_among_others(tmp_path):
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    module.append(nn.Linear(27, 4))
    network = exported(module, (1, 6, 6), tmp_path / "m.onnx")
    x = np.random.default_rng(2).normal(size=(5, 1, 6, 6)).astype(np.float32)
    reach = np.array([0.0, 1e-6, 1e-3, 0.1, 10.0])
    together, _ = bounds_of(network, x, reach)
    for k in range(5):
        alone, _ = bounds_of(network, x[k : k + 1], reach[k : k + 1])
        assert np.allclose(alone[0], together[k], rtol=1e-9)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "ReduceMean", "AveragePool"])
def test_means_that_overflow_before_they_are_divided_have_no_bound(kind):
    """Sixteen numbers of 2^125: their sum is beyond float32, their mean is not."""
    given = {"ReduceMean": {"axes": [2, 3]}, "AveragePool": {"kernel_shape": [4, 4]}}.get(kind, {})
    nodes = [
        node(kind, ["x"], ["m"], **given),
        node("Mul", ["m", "small"], ["s"]),
        node("Flatten", ["s"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"small": f32(2.0**-120), "w": f32([[1.0, 0.5]])}
    content = model(nodes, weights, [1, 1, 4, 4])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    network = network_of(read(content, None))
    for size, finite in ((2.0**100, True), (2.0**125, False)):
        x = np.full((1, 1, 4, 4), size, dtype=np.float32)
        assert np.isfinite(session.run(None, {"x": x})[0]).all() == finite
        cost, _ = bounds_of(network, x.reshape(1, -1), np.zeros(1))
        assert np.isfinite(cost).all() == finite


@pytest.mark.parametrize("kind", ["Tanh", "LeakyRelu", "Relu", "Identity"])
def test_what_bends_the_input_itself_has_bounds(kind):
    """Nothing is followed back to the input, which float32 holds as it is."""
    nodes = [node(kind, ["x"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    content = model(nodes, {"w": f32([[1.0, 0.5], [2.0, 0.25]])}, [1, 2])
    network = network_of(read(content, None))
    cost, _ = bounds_of(network, np.ones((1, 2)), np.array([0.125]))
    assert np.isfinite(cost).all() and (cost > 0.0).all()
    alone = network_of(read(model([node(kind, ["x"], ["y"])], {}, [1, 2]), None))
    cost, _ = bounds_of(alone, np.array([[2.0, 1.0]]), np.array([0.125]))
    assert (cost[0, 1] > 1e-300) == (kind in ("Tanh", "LeakyRelu"))
