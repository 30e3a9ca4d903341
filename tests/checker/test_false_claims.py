"""Claims that are not true: each was made to slip past an earlier checker, and is refuted."""

from __future__ import annotations

import base64
import hashlib
import json
from fractions import Fraction

import numpy as np
import pytest
from making import f32, model, network, node, proof, written

from lipcert.checker import check
from lipcert.checker.certificates import judged
from lipcert.checker.claims import Claim, Column
from lipcert.checker.exact import Rows, norm
from lipcert.checker.file import Samples, digest
from lipcert.checker.maps import Gather
from lipcert.checker.positive import Refuted
from lipcert.checker.proof import Checker

TINY = Fraction(1, 10**6)
ONE = Fraction(1)


def two_layers(scale: float = 8.0) -> bytes:
    return model(
        [
            node("MatMul", ["x", "a"], ["v"]),
            node("Relu", ["v"], ["h"]),
            node("MatMul", ["h", "b"], ["y"]),
        ],
        {"a": np.eye(3, dtype=np.float32), "b": scale * np.eye(3, dtype=np.float32)},
        ["n", 3],
    )


def refuted(content: bytes, claims: list[Claim], constant: Fraction, tmp_path, **more) -> str:
    files = written(tmp_path, model=content, proof=proof(content, claims, constant, **more))
    verdict = check(files["proof"], files["model"], more.pop("data", None))
    assert verdict.status == "refuted", verdict
    return verdict.why


def whole(*shares: int) -> tuple[np.ndarray, np.ndarray]:
    count = len(shares)
    return np.array(shares, dtype=np.int64), np.zeros(count, dtype=np.int64)


def test_sums_of_copies_do_not_wrap():
    """2048 copies of an input times almost 1 in double precision: 2^64 less 2048."""
    content = model(
        [node("Add", ["x", "zeros"], ["wide"]), node("MatMul", ["wide", "w"], ["y"])],
        {"zeros": np.zeros((1, 2048)), "w": np.full((2048, 1), 1.0 - 2.0**-53)},
        ["n", 1],
    )
    checker = Checker(network(content))
    claim = Claim("y", Fraction(1), columns=(Column("x", False, ONE),))
    with pytest.raises(Refuted):
        checker.run([claim])
    checker.run([Claim("y", Fraction(2049), columns=(Column("x", False, ONE),))])


def test_gathers_pull_what_they_push():
    index = np.array([0, 2, -1, 0, 0, 2] + [1] * 5000)
    one = Gather(index, 3)
    rows = Rows(np.full((2, len(index)), (1 << 55) - 3), -7, np.zeros(2))
    pulled = one.pull(rows)
    counts = np.bincount(index[index >= 0], minlength=3)
    for row, radius in zip(pulled.mantissa, pulled.radius, strict=True):
        off = [
            int(c) * ((1 << 55) - 3) * Fraction(2) ** -7 - int(m) * Fraction(2) ** pulled.exponent
            for c, m in zip(counts, row, strict=True)
        ]
        assert sum(o * o for o in off) <= Fraction(float(radius)) ** 2


def test_weights_are_taken_as_they_are_claimed():
    checker = Checker(network(two_layers()))
    columns = (Column("x", False, ONE),)
    for constant, weight, true in ((17, 2, True), (30, 1, False), (7, 2, False)):
        stages = (("h", *whole(weight, weight, weight)),)
        claim = Claim("y", Fraction(constant), columns=columns, stages=stages)
        if true:
            checker.run([claim])
            continue
        with pytest.raises(Refuted):
            checker.run([claim])


def test_a_key_that_means_nothing_is_not_overlooked(tmp_path):
    """From v on, which claims once could begin at, the constant is not the one from the input."""
    content = two_layers()
    columns = (Column("x", False, ONE),)
    claim = Claim("y", Fraction(30), columns=columns, stages=(("h", *whole(2, 2, 2)),))
    made = json.loads(proof(content, [claim], Fraction(1000)))
    for more, status in (({}, "proved"), ({"source": "v"}, "inconclusive")):
        made["claims"][0].update(more)
        made["sha256"] = digest(made)
        files = written(tmp_path, model=content, proof=json.dumps(made).encode())
        assert check(files["proof"], files["model"]).status == status


def convolution() -> bytes:
    kernel = np.arange(1.0, 19.0, dtype=np.float32).reshape(2, 1, 3, 3)
    return model(
        [node("Relu", ["x"], ["r"]), node("Conv", ["r", "k"], ["y"])], {"k": kernel}, ["n", 1, 4, 4]
    )


def test_a_torus_says_nothing_of_pairs():
    checker = Checker(network(convolution()))
    with pytest.raises(Refuted):
        checker.run([Claim("y", Fraction(1000), torus=(4, 4), pair=(0, 1))])
    checker.run([Claim("y", Fraction(1000), torus=(4, 4))])


@pytest.mark.parametrize("sides", [(3, 4), (4,), (0, 4), (-4, 4), ()])
def test_a_torus_that_does_not_hold_the_image_is_refused(sides):
    with pytest.raises(Refuted):
        Checker(network(convolution())).run([Claim("y", Fraction(1000), torus=sides)])


def test_a_torus_is_as_large_as_the_image_asks_for(tmp_path):
    content = convolution()
    claims = [Claim("y", Fraction(1000), torus=(1 << 20, 1 << 20))]
    files = written(tmp_path, model=content, proof=proof(content, claims, Fraction(1000)))
    assert check(files["proof"], files["model"]).status == "inconclusive"


@pytest.mark.parametrize("target", ["x", "nothing"])
def test_claims_of_what_the_model_does_not_compute(tmp_path, target):
    claim = Claim(target, TINY, columns=(Column("x", False, ONE),))
    refuted(two_layers(), [claim], Fraction(1000), tmp_path)


@pytest.mark.parametrize("value", ["x", "v", "h"])
def test_the_constant_is_of_the_output_or_its_logits(tmp_path, value):
    refuted(two_layers(), [], Fraction(1000), tmp_path, value=value)


@pytest.mark.parametrize("shares", [["1", "1"], ["1/2", f"{2**60}/{2**61 - 1}"], ["-1/2", "1"]])
def test_shares_are_parts_of_the_whole(shares):
    columns = (Column("x", False, Fraction(shares[0])), Column("h", True, Fraction(shares[1])))
    with pytest.raises(Refuted):
        Checker(network(two_layers())).run([Claim("y", Fraction(1000), columns=columns)])


def test_a_bound_that_is_no_number_is_no_bound(tmp_path):
    """A slope that is not a number: every comparison with what follows from it is false."""
    content = model(
        [node("LeakyRelu", ["x"], ["h"], alpha=float("nan")), node("MatMul", ["h", "w"], ["y"])],
        {"w": np.eye(3, dtype=np.float32)},
        ["n", 3],
    )
    data = tmp_path / "data.npz"
    np.savez(data, x=np.array([[3.0, 0.0, 0.0]], dtype=np.float32))
    samples = Samples(
        hashlib.sha256(data.read_bytes()).hexdigest(),
        (),
        (),
        np.array([0]),
        np.array([0.5]),
        np.array([np.inf]),
    )
    for value in ("x", "y"):
        files = written(
            tmp_path, model=content, proof=proof(content, [], ONE, value=value, samples=samples)
        )
        assert check(files["proof"], files["model"], data).status != "proved"


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_one_logit_is_judged_by_its_sign(sign):
    content = model([node("MatMul", ["x", "w"], ["y"])], {"w": f32([[1.0], [2.0]])}, ["n", 2])
    checker = Checker(network(content))
    checker.run([])
    x = np.array([[sign, sign]])
    best, behind, slope = judged(checker, x, "real", np.zeros(1))
    assert best.tolist() == [int(sign > 0)]
    assert 2.999 < behind[0, 0] < 3.0
    assert slope[0, 0] >= np.sqrt(5.0)


def test_a_constant_is_about_real_arithmetic(tmp_path):
    """In float32 a model is not even continuous."""
    content = two_layers()
    assert "real" in refuted(content, [], Fraction(1000), tmp_path, semantics="float32")
    files = written(tmp_path, model=content, proof=proof(content, [], Fraction(1000)))
    assert check(files["proof"], files["model"]).status == "proved"


def test_tiny_numbers_do_not_vanish_when_squared():
    assert norm(np.full(10**6, 1e-163)) >= 1e-160
    assert norm(np.array([3.0, 4.0])) >= 5.0


def test_keys_that_are_there_twice_are_refused(tmp_path):
    content = two_layers()
    made = json.loads(proof(content, [], Fraction(1000)))
    text = json.dumps(made)
    place = text.index('"value"')
    text = f'{text[:place]}"value": "x", {text[place:]}'
    files = written(tmp_path, model=content, proof=text.encode())
    assert digest(json.loads(text)) == made["sha256"]
    assert check(files["proof"], files["model"]).status == "refuted"


def image_proof(tmp_path, x: np.ndarray) -> str:
    """Verdict on a radius for one image of a model of 2x3x4 values."""
    content = model(
        [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])],
        {"w": np.eye(24, 2, dtype=np.float32)},
        ["n", 2, 3, 4],
    )
    data = tmp_path / "data.npz"
    np.savez(data, x=x)
    samples = Samples(
        hashlib.sha256(data.read_bytes()).hexdigest(),
        (),
        (),
        np.array([0]),
        np.array([0.5]),
        np.array([0.1]),
    )
    claims = [Claim("y", Fraction(11, 10), columns=(Column("x", False, ONE),))]
    files = written(
        tmp_path, model=content, proof=proof(content, claims, Fraction(11, 10), samples=samples)
    )
    return check(files["proof"], files["model"], data).status


def test_samples_have_the_shape_of_the_input(tmp_path):
    x = np.zeros((1, 2, 3, 4), dtype=np.float32)
    x[0, 0, 0, 0] = 1.0
    assert image_proof(tmp_path, x) == "proved"
    assert image_proof(tmp_path, x.reshape(1, 24)) == "proved"
    assert image_proof(tmp_path, np.ascontiguousarray(x.transpose(0, 2, 3, 1))) == "refuted"
    assert image_proof(tmp_path, x.astype(np.int64)) == "inconclusive"
    assert image_proof(tmp_path, np.where(x == 0.0, np.nan, x)) == "inconclusive"
    assert image_proof(tmp_path, x[:0]) != "proved"


def test_weights_of_a_pool_are_one_for_all(tmp_path):
    content = model(
        [
            node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["p"], ["y"]),
        ],
        {},
        ["n", 1, 4, 4],
    )
    checker = Checker(network(content))
    count = 16
    stages = (("p", np.ones(count, dtype=np.int64), np.full(count, 1)),)
    columns = (Column("x", False, ONE),)
    checker.run([Claim("p", Fraction(3), columns=columns, stages=stages)])
    with pytest.raises(Refuted):
        checker.run([Claim("p", Fraction(1, 2), columns=columns, stages=stages)])


def test_arrays_of_another_length_are_refused(tmp_path):
    content = two_layers()
    claim = Claim("y", Fraction(30), columns=(Column("x", False, ONE),), stages=(("h", *whole(1)),))
    refuted(content, [claim], Fraction(1000), tmp_path)
    made = json.loads(proof(content, [claim], Fraction(1000)))
    made["claims"][0]["stages"][0]["mantissa"] = base64.b64encode(b"123").decode()
    made["sha256"] = digest(made)
    files = written(tmp_path, model=content, proof=json.dumps(made).encode())
    assert check(files["proof"], files["model"]).status == "refuted"
