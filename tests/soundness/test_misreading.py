"""Changed models: where the checker and ONNX Runtime both read one, they read the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from generators.graphs import random_model
from misreading import changed, deviation
from proofs import KINDS

from lipcert.checker import samples

GRAPHS = (5, 7, 12, 16, 18, 23, 26, 27, 28)


@pytest.mark.parametrize("seed", range(6))
def test_changed_models_are_read_alike_or_declined(seed):
    rng = np.random.default_rng(seed)
    pool = [build(np.random.default_rng(seed)) for build in KINDS.values()]
    pool += [random_model(number).content for number in GRAPHS]
    read = 0
    for base in pool:
        for _ in range(8):
            content = changed(base, rng)
            if content == base:
                continue
            off = deviation(content, seed)
            read += off is not None
            assert off is None or off <= 1e-4
    assert read >= 3


def test_what_is_misread_would_be_seen(monkeypatch):
    """The comparison itself: a rectifier read as an absolute value shows."""
    content = KINDS["relu"](np.random.default_rng(0))
    assert deviation(content, 0) <= 1e-4
    plain = samples._stage

    def wrong(maker, x):
        return plain(replace(maker, below=-1.0), x)

    monkeypatch.setattr(samples, "_stage", wrong)
    assert deviation(content, 0) > 1e-4
