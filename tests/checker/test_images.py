"""The one small signal behind a large value: its images, and when there is no such thing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipcert.checker.claims import Claim, Column
from lipcert.checker.exact import weight
from lipcert.checker.maps import Dense, identity
from lipcert.checker.matrix import Matrices
from lipcert.checker.network import Affine, Network, Stage
from lipcert.checker.positive import Refuted
from lipcert.checker.proof import Checker


def dense(seed, out, inner):
    return Dense(weight(np.random.default_rng(seed).normal(size=(out, inner)).astype(np.float32)))


def network(skip=False, bend=False):
    """x (3) to u (9) to y (12), perhaps with a skip from x to y or a rectifier between."""
    own = Network("x", (1, 3))
    own.value("x", 3, None)
    own.value("u", 9, Affine((("x", (dense(1, 9, 3),)),)))
    source = "u"
    if bend:
        own.value("r", 9, Stage("u", "Relu", (0.0, 1.0), 1.0))
        source = "r"
    summands = [(source, (dense(2, 12, 9),))]
    if skip:
        summands.append(("x", (dense(3, 12, 3),)))
    own.value("y", 12, Affine(tuple(summands)))
    own.output = own.logits = "y"
    return own


def claim(signal, constant=1.0):
    share = Fraction(1)
    return Claim("y", Fraction(constant), columns=(Column(signal, False, share),))


def floats(rows):
    return np.ldexp(rows.mantissa.reshape(len(rows.mantissa), -1).astype(float), rows.exponent)


@pytest.mark.parametrize("skip", [False, True])
def test_images_are_the_rows_turned(skip):
    matrices = Matrices(network(skip), {"x": 1.0})
    images = matrices.images(claim("x"))
    pulled = matrices.pull(claim("x"), "y", identity(12), {})
    np.testing.assert_array_equal(floats(images).T, floats(pulled["x", False]))


def test_a_way_past_the_signal_or_a_bend_leaves_none():
    assert Matrices(network(skip=True), {}).images(claim("u")) is None
    assert Matrices(network(bend=True), {}).images(claim("x")) is None
    assert Matrices(network(bend=True), {}).images(claim("r")) is not None
    assert Matrices(network(), {}).images(claim("nothing")) is None


@pytest.mark.parametrize("skip", [False, True])
def test_the_norm_is_proved_and_a_smaller_one_is_not(skip):
    own = network(skip)
    exact = np.linalg.norm(floats(Matrices(own, {}).images(claim("x"))), 2)
    checker = Checker(own)
    checker.run([claim("x", float(exact) * (1.0 + 1e-9))])
    with pytest.raises(Refuted):
        Checker(own).run([claim("x", float(exact) * (1.0 - 1e-9))])
