"""Random graphs of tests/contract through the checker: what it reads, and what it bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from attacking import sessions
from generators.graphs import random_model
from generators.soundness import is_above, sampled_slopes

from lipcert.checker.exact import CheckError
from lipcert.checker.importing import network_of
from lipcert.checker.network import Network
from lipcert.checker.proof import Checker
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read
from lipcert.errors import LipcertError
from lipcert.onnx_import import build_graph, parse_model
from lipcert.proof.proving import network_claims

SEEDS = range(250)


def covered(seed: int) -> tuple[bytes, Network] | None:
    made = random_model(seed)
    try:
        return made.content, network_of(read(made.content, None))
    except CheckError:
        return None


COVERED = [seed for seed in SEEDS if covered(seed) is not None]


def test_enough_graphs_are_covered():
    assert len(COVERED) >= 25


@pytest.mark.parametrize("seed", COVERED)
def test_the_checker_computes_what_onnx_runtime_does(seed):
    """In exact integers against float32, at several sizes of the input."""
    content, network = covered(seed)
    made = random_model(seed)
    rng = np.random.default_rng(seed)
    session = sessions(content)[0]
    for scale in (0.1, 1.0, 10.0):
        x = (scale * rng.normal(size=(1, *made.sample_shape))).astype(np.float32)
        try:
            rows = forward(network, rows_of(x))[network.logits]
        except CheckError:
            continue  # a curve that is bounded, but not evaluated
        ours = np.ldexp(rows.mantissa.astype(float), rows.exponent)
        assert rows.radius[0] <= 1e-9 * max(1.0, np.abs(ours).max())
        theirs = session.run(None, {session.get_inputs()[0].name: x})[0].reshape(1, -1)
        if network.logits == network.output:
            assert np.abs(ours - theirs).max() <= 5e-5 * max(np.abs(ours).max(), 1e-2)
        elif theirs.shape[1] > 1:
            near = np.exp(ours - ours.max())
            assert np.abs(near / near.sum() - theirs).max() <= 1e-4


@pytest.mark.parametrize("seed", COVERED)
def test_no_constant_is_below_a_slope(seed):
    """Products alone, and what the prover finds: each above every Jacobian, exactly."""
    content, network = covered(seed)
    try:
        graph = build_graph(parse_model(content, "random"), name="random")
    except LipcertError:
        pytest.skip("lipcert does not read it")
    plain = Checker(network_of(read(content, None)))
    plain.run([])
    constants = [plain.known[network.output]]
    try:
        found = network_claims(network, network.output, time_limit=0.5)
    except CheckError:
        found = None
    if found is not None:
        checker = Checker(network_of(read(content, None)))
        checker.run(list(found.claims))
        constants.append(math.nextafter(float(checker.proved(network.output)), math.inf))
    torch.manual_seed(seed)
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        for constant in constants:
            assert constant == math.inf or is_above(constant, slope, "l2")
