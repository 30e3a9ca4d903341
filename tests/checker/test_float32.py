"""Float32 evaluations in adversarial orders stay within the bounds told for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lipcert.checker.float32 import Surroundings, rounding
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
    a, b = rounding(network, rows, Surroundings(checker.known, checker.suffixes), np.zeros(1))
    assert b[0] > 0.0
    w1, b1, w2, b2 = (p.detach().numpy() for p in module.parameters())
    worst = 0.0
    for order in (np.arange(60), np.argsort(x[0] * w1[0]), np.argsort(-np.abs(x[0] * w1[0]))):
        hidden = np.maximum(dense32(w1, b1, x[0], order), 0)
        out = dense32(w2, b2, hidden, np.argsort(hidden))
        worst = max(worst, float(np.linalg.norm(out - true)))
    assert 0.0 < worst <= a[0] + float(logits.radius[0])


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
    a, _ = rounding(network, rows, Surroundings(checker.known, checker.suffixes), np.zeros(1))
    assert a[0] > 1.0
    assert module(torch.ones(1, 1)).item() == 0.0
