"""Proofs made, written, read and checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lipcert
from lipcert.checker import check, wire
from lipcert.checker.file import digest
from lipcert.checker.file import read as read_proof
from lipcert.checker.importing import network_of
from lipcert.checker.proof import Checker
from lipcert.errors import InputError, UnsupportedError
from lipcert.proof import network_claims, prove

SAMPLES = Path(__file__).parents[2] / "sample_models"
KINDS = (
    "relu",
    "leaky",
    "sigmoid",
    "tanh",
    "abs",
    "residual",
    "concat",
    "sort",
    "softmax",
    "conv",
    "pools",
)
GROUPED = ("sort", "pools")
Small = Callable[..., Path]


def network(model: Path) -> object:
    return network_of(wire.read(model.read_bytes(), model.parent))


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_of_the_bound_is_checked(kind: str, small: Small, tmp_path: Path) -> None:
    model = small(kind)
    bound = lipcert.bound(model, lower_seconds=0.3)
    made = prove(model, bound)
    target = tmp_path / "net.proof"
    target.write_bytes(made.content)
    verdict = check(target, model)
    assert verdict.status == "proved", verdict.why
    assert verdict.constant == made.facts.constant
    assert made.facts.value >= bound.lower
    # multipliers for single groups of a sort or a pool are not covered: the next best is proved
    best = bound.methods["averaged"] if kind in GROUPED else bound.value
    assert made.facts.value <= best * (1.0 + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_bound_at_hand_the_constant_is_as_small(kind: str, small: Small) -> None:
    model = small(kind)
    alone, after = prove(model), prove(model, lipcert.bound(model, lower_seconds=0.0))
    assert alone.facts.value == pytest.approx(after.facts.value, rel=2e-6)


@pytest.mark.parametrize("name", ["digits_relu_mlp", "digits_lip_mlp", "digits_lip_conv"])
def test_sample_models(name: str, tmp_path: Path) -> None:
    model = SAMPLES / f"{name}.onnx"
    bound = lipcert.bound(model, lower_seconds=0.0)
    made = lipcert.prove(model, bound)
    (tmp_path / "p").write_bytes(made.content)
    assert lipcert.check(tmp_path / "p", model).status == "proved"
    assert made.facts.value <= bound.value * (1.0 + 1e-6)


@pytest.mark.parametrize(
    "scales", [(1e30, 1e-30), (1e-30, 1e30), (1e-5, 1.0), (1e30, 1e8), (0.0, 1.0)]
)
def test_scales_far_from_one(scales: tuple[float, float], builder: Any, tmp_path: Path) -> None:
    net = builder(5, (6,))
    net.dense(6, 9)
    net.add("Relu")
    net.dense(9, 4)
    for name, scale in zip(("w0", "w2"), scales, strict=True):
        net.weights[name] = (net.weights[name].astype(float) * scale).astype(np.float32)
    model = net.save(tmp_path / "net.onnx")
    bound = lipcert.bound(model, lower_seconds=0.2)
    made = prove(model, bound)
    (tmp_path / "p").write_bytes(made.content)
    assert check(tmp_path / "p", model).status == "proved"
    assert bound.lower <= made.facts.value
    best = lipcert.bound(model, method="averaged", lower_seconds=0.0).value
    assert made.facts.value <= best * (1.0 + 1e-6) + 1e-300


def test_a_constant_a_little_smaller_is_refuted(small: Small, tmp_path: Path) -> None:
    model = small("relu")
    content = json.loads(prove(model).content)
    (claim,) = content["claims"]
    for key in ("constant", "lipschitz"):
        own = claim if key == "constant" else content
        own[key] = str(Fraction(own[key]) * (1 - Fraction(1, 10**6)))
    content["sha256"] = digest(content)
    (tmp_path / "p").write_text(json.dumps(content))
    assert check(tmp_path / "p", model).status == "refuted"


@pytest.mark.parametrize("kind", ["relu", "conv", "pools", "sort"])
def test_the_file_says_what_was_claimed(kind: str, small: Small) -> None:
    """What is read back are the claims that were made, to the last bit."""
    model = small(kind)
    found = network_claims(network(model), network(model).output)
    read = read_proof(prove(model).content)
    assert [c.target for c in read.claims] == [c.target for c in found.claims]
    assert read.lipschitz == found.constant
    for one, other in zip(read.claims, found.claims, strict=True):
        assert (one.constant, one.torus) == (other.constant, other.torus)
        assert [(c.signal, c.remainder, c.share) for c in one.columns] == [
            (c.signal, c.remainder, c.share) for c in other.columns
        ]
        for own, their in zip(one.stages, other.stages, strict=True):
            assert own[0] == their[0]
            assert (own[1] == their[1]).all()
            assert (own[2] == their[2]).all()
        assert (one.factor is None) == (other.factor is None)
        assert one.factor is None or (one.factor == other.factor).all()


def test_a_chain_is_one_inequality_and_a_pool_is_not(small: Small) -> None:
    assert prove(small("relu")).facts.method == "lipsdp"
    assert prove(small("pools")).facts.method == "averaged"


def test_logits_leave_out_the_softmax(small: Small) -> None:
    model = small("softmax")
    whole, logits = prove(model), prove(model, logits=True)
    assert whole.facts.constant * 2 == pytest.approx(float(logits.facts.constant), rel=1e-12)
    assert read_proof(logits.content).value != read_proof(whole.content).value


@pytest.mark.parametrize("kind", ["relu", "tanh", "residual", "conv", "pools"])
def test_pairs_are_proved_and_below_what_follows_from_the_whole(kind: str, small: Small) -> None:
    own = network(small(kind))
    found = network_claims(own, own.logits, pairs=True)
    fresh = Checker(own)
    fresh.run(list(found.claims))
    count = own.sizes[own.logits]
    assert len(fresh.pairs) == count * (count - 1) // 2
    table = fresh.pair_constants()
    whole = float(fresh.proved(own.logits)) * np.sqrt(2.0)
    off = ~np.eye(count, dtype=bool)
    assert (table[off] < whole).all()
    expected = np.array(lipcert.bound(small(kind), pairwise=True, lower_seconds=0.0).pairwise)
    excess = (table[off] / expected[off]).max() - 1.0
    assert excess < (2e-3 if kind not in GROUPED else 1.0)


def test_what_cannot_be_proved_is_refused_with_a_reason(small: Small) -> None:
    model = small("relu")
    with pytest.raises(InputError, match="covers the l2 norm, not l1"):
        prove(model, lipcert.bound(model, norm="l1", lower_seconds=0.0))
    with pytest.raises(UnsupportedError, match="declares the input shape 6"):
        prove(model, input_shape=(7,))
    with pytest.raises(UnsupportedError, match="outputs are not the one"):
        prove(model, output="h")
    with pytest.raises(InputError, match="cannot be read"):
        prove(model.with_name("missing.onnx"))
    with pytest.raises(InputError, match="about a model file"):
        prove(lipcert.load(model))


def test_external_data_is_part_of_what_is_proved(tmp_path: Path, small: Small) -> None:
    import onnx

    outside = tmp_path / "outside"
    outside.mkdir()
    kept = {"save_as_external_data": True, "location": "w.data", "size_threshold": 0}
    onnx.save(onnx.load(small("relu")), str(outside / "net.onnx"), **kept)
    proof = tmp_path / "p"
    proof.write_bytes(prove(outside / "net.onnx").content)
    assert check(proof, outside / "net.onnx").status == "proved"
    changed = bytearray((outside / "w.data").read_bytes())
    changed[5] ^= 1
    (outside / "w.data").write_bytes(changed)
    verdict = check(proof, outside / "net.onnx")
    assert (verdict.status, "w.data" in verdict.why) == ("refuted", True)
