"""What a solved matrix inequality hands on to a proof."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lipcert
from lipcert.bounds import plan
from lipcert.checker import check
from lipcert.checker.importing import network_of
from lipcert.checker.wire import read
from lipcert.proof import prove
from lipcert.proof.inequality import inequality_claim
from lipcert.proof.layers import rounded_shares
from lipcert.proof.prover import Prover

Small = Callable[..., Path]


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is cut wherever it can be."""

    def pieces(form: object, context: object) -> list[plan.Stretch]:
        edges = [1, *plan.cuts(form), len(form.stages) + 1]  # type: ignore[attr-defined, arg-type]
        return [plan.Stretch(a, b, boxed=False) for a, b in zip(edges, edges[1:], strict=False)]

    monkeypatch.setattr("lipcert.bounds.lipsdp.plan", pieces)


@pytest.mark.parametrize("kind", ["relu", "leaky", "tanh"])
def test_multipliers_of_blocks_prove_the_whole(
    kind: str, small: Small, cut: None, tmp_path: Path
) -> None:
    """Cut into blocks with couplings between them, the inequalities add up to one of the whole."""
    model = small(kind)
    bound = lipcert.bound(model, method="lipsdp", lower_seconds=0.0)
    assert "2 blocks" in bound.details["lipsdp"] or "3 blocks" in bound.details["lipsdp"]
    assert bound.multipliers is not None
    network = network_of(read(model.read_bytes(), model.parent))
    claim = inequality_claim(Prover(network), network.output, 0.0, bound.multipliers)
    assert claim is not None
    assert float(claim.constant) <= bound.value * (1.0 + 1e-8)
    (tmp_path / "p").write_bytes(prove(model, bound).content)
    assert check(tmp_path / "p", model).status == "proved"


def test_multipliers_at_hand_are_enough(small: Small) -> None:
    """No second solution: the claim is made from the bound's own, with no time for the solver."""
    model = small("relu")
    bound = lipcert.bound(model, method="lipsdp", lower_seconds=0.0)
    network = network_of(read(model.read_bytes(), model.parent))
    claim = inequality_claim(Prover(network), network.output, 0.0, bound.multipliers)
    assert claim is not None
    assert float(claim.constant) == pytest.approx(bound.value, rel=1e-6)
    assert inequality_claim(Prover(network), network.output, 0.0, None) is None


def test_multipliers_of_another_model_prove_no_less(small: Small) -> None:
    """Bad weights cost tightness only: whatever they prove is a bound."""
    model = small("relu")
    other = lipcert.bound(small("relu", seed=9), method="lipsdp", lower_seconds=0.0)
    model = small("relu")
    bound = lipcert.bound(model, lower_seconds=0.3)
    network = network_of(read(model.read_bytes(), model.parent))
    claim = inequality_claim(Prover(network), network.output, 0.0, other.multipliers)
    assert claim is None or float(claim.constant) >= bound.lower


def test_results_do_not_carry_multipliers_into_comparisons(small: Small) -> None:
    bound = lipcert.bound(small("relu"), method="lipsdp", lower_seconds=0.0)
    assert "multipliers" not in repr(bound)
    assert {name: len(own.best) for name, own in (bound.multipliers or {}).items()} == {
        "relu1": 9,
        "relu3": 8,
    }


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_at_most_the_whole(seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.exponential(size=7) ** 9 * 10.0 ** float(random.integers(-200, 200))
    shares = rounded_shares(weights)
    assert sum(shares) <= 1
    assert all(share >= 2.0**-60 for share in shares)
