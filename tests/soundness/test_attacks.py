"""Attacks inside radii that the checker proves: none succeeds, and larger radii are broken."""

from __future__ import annotations

import numpy as np
import pytest
from attacking import attacked, decided, radii_of, rounded_inside, sessions
from proofs import KINDS

from lipcert.checker.importing import network_of
from lipcert.checker.proof import Checker
from lipcert.checker.wire import read
from lipcert.onnx_import import build_graph, parse_model
from lipcert.proof.proving import network_claims


@pytest.mark.parametrize("kind", KINDS)
def test_no_class_changes_inside_a_radius(kind):
    content = KINDS[kind](np.random.default_rng(4))
    network = network_of(read(content, None))
    claims = network_claims(network, network.logits, pairs=True, time_limit=5.0).claims
    checker = Checker(network_of(read(content, None)))
    checker.run(list(claims))
    graph = build_graph(parse_model(content, kind), name=kind)
    inner = graph if network.logits == network.output else graph.ending_at(network.logits)
    shape = network.input_shape[1:]
    x = (2.0 * np.random.default_rng(6).normal(size=(40, *shape))).astype(np.float32)
    radii = radii_of(checker, x)
    assert (radii.real > 0.0).mean() > 0.9
    assert (radii.float32 > 0.99 * radii.real).mean() > 0.9
    _, worst = attacked(inner, x, radii.classes, radii.real, 0)
    assert (worst >= 0.0).all()
    _, broken = attacked(inner, x, radii.classes, 64.0 * radii.real, 0)
    assert (broken < 0.0).mean() > 0.5
    points, _ = attacked(inner, x, radii.classes, 0.999999 * radii.float32, 1)
    near, inside = rounded_inside(points, x, radii.float32)
    assert inside.mean() > 0.9
    for session in sessions(content):
        outputs = session.run(None, {"x": near})[0]
        classes = decided(outputs, sigmoid=network.logits != network.output)
        assert (classes[inside] == radii.classes[inside]).all()
