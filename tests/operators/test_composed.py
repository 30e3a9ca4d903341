"""Products and sums: shared factors pulled out, evaluation errors that hold."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from lipcert.operators import (
    Adjoint,
    Composed,
    Dense,
    LinearOperator,
    Norms,
    Reshape,
    Sum,
    add,
    compose,
    factors_of,
    identity,
    transpose,
)
from lipcert.spectral import NORMS, NormSettings


def dense(rows: int, columns: int, seed: int = 0, gain: float = 1.0) -> Dense:
    weight = gain * np.random.default_rng(seed).standard_normal((rows, columns))
    return Dense(torch.from_numpy(weight))


def test_compose_drops_identities() -> None:
    inner = dense(3, 4)
    assert compose(identity((3,)), inner, identity((4,))) is inner
    assert compose(identity((4,)), identity((4,))).out_shape == (4,)
    assert len(factors_of(compose(dense(2, 3), compose(dense(3, 3), inner)))) == 3


def test_sum_shares_the_factor_that_acts_first() -> None:
    """``P·T + Q·T = (P + Q)·T``: a signal read twice is not counted twice."""
    shared, p, q = dense(3, 4, 1), dense(2, 3, 2), dense(2, 3, 3)
    total = add(compose(p, shared), compose(q, shared))
    assert isinstance(total, Composed)
    assert total.factors[-1] is shared and isinstance(total.factors[0], Sum)
    wanted = (p.weight + q.weight) @ shared.weight
    np.testing.assert_allclose(matrix(total), wanted.numpy(), rtol=1e-12)
    truth = float(np.linalg.norm(wanted.numpy(), 2))
    assert truth * (1 - 1e-13) <= NORMS["l2"](total, NormSettings()).value <= truth * (1 + 1e-9)


def matrix(operator: LinearOperator) -> np.ndarray:
    basis = torch.eye(operator.in_size, dtype=torch.float64)
    return operator.apply(basis.reshape(-1, *operator.in_shape)).flatten(1).T.numpy()


def test_a_shortcut_is_added_to_the_operator() -> None:
    """``x + W x`` is ``I + W``, not 1 + ‖W‖."""
    weight = torch.diag(torch.tensor([-1.0, -0.5, 0.25], dtype=torch.float64))
    total = add(identity((3,)), Dense(weight))
    found = NORMS["l2"](total, NormSettings()).value
    assert 1.25 <= found <= 1.25 * (1.0 + 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_taken_away_from_itself_is_nothing(norm: str) -> None:
    shared = dense(4, 4, 5)
    minus = Composed((Dense(-torch.eye(4, dtype=torch.float64)), shared))
    total = add(shared, minus)
    assert 0.0 <= NORMS[norm](total, NormSettings()).value < 1e-6


def test_adjoint_of_a_product_is_the_product_of_adjoints_in_reverse() -> None:
    a, b = dense(2, 3, 1), dense(3, 4, 2)
    turned = transpose(Composed((a, b)))
    assert isinstance(turned, Composed)
    assert [type(factor) for factor in turned.factors] == [Adjoint, Adjoint]
    np.testing.assert_allclose(matrix(turned), matrix(Composed((a, b))).T, rtol=1e-12)
    assert transpose(transpose(a)) is a


def test_norms_add_multiply_and_turn() -> None:
    left, right = Norms(1.0, 2.0, 4.0), Norms(3.0, 5.0, 7.0)
    total, product = left + right, left * right
    for found, wanted in ((total, (4, 7, 11)), (product, (3, 10, 28))):
        for value, exact in zip((found.l1, found.l2, found.linf), wanted, strict=True):
            assert exact <= value <= exact * (1 + 1e-15)
    assert left.transposed == Norms(4.0, 2.0, 1.0)


@pytest.mark.parametrize(("l1", "linf"), [(1.0, 1.0), (2.0, 8.0), (3.0, 5.0), (1e-320, 1e300)])
def test_schur_bound_is_not_below_the_root_of_the_product(l1: float, linf: float) -> None:
    found = Norms.schur(l1, linf)
    assert (found.l1, found.linf) == (l1, linf)
    assert Fraction(found.l2) ** 2 >= Fraction(l1) * Fraction(linf)


def test_schur_bound_is_reached_by_a_matrix_of_ones() -> None:
    operator = Dense(torch.ones(2, 8, dtype=torch.float64))
    assert 4.0 <= operator.absolute_norms.l2 <= 4.0 * (1 + 1e-13)


# --- evaluation errors ---------------------------------------------------------------------------


def exact_image(factors: list[np.ndarray], x: np.ndarray) -> list[Fraction]:
    vector = [Fraction(float(v)) for v in x]
    for weight in factors[::-1]:
        vector = [
            sum(Fraction(float(w)) * v for w, v in zip(row, vector, strict=True)) for row in weight
        ]
    return vector


@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e-160, 1e100])
@pytest.mark.parametrize("seed", range(8))
def test_evaluation_error_covers_what_rounding_does(seed: int, scale: float) -> None:
    """Products, sums and adjoints on inputs large and small, underflow included."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((3, 5)), scale * rng.standard_normal((5, 4))
    chain = Composed((Dense(torch.from_numpy(a)), Dense(torch.from_numpy(b))))
    for size in (1.0, scale, 1e-160):
        x = size * rng.standard_normal(4)
        found = chain.apply(torch.from_numpy(x)[None])[0].tolist()
        off = [Fraction(f) - t for f, t in zip(found, exact_image([a, b], x), strict=True)]
        squared = sum(Fraction(float(v)) ** 2 for v in x)
        limit = Fraction(chain.evaluation_error.l2) ** 2 * squared
        assert sum(o**2 for o in off) <= 2 * limit + 2 * Fraction(chain.underflow) ** 2
        y = size * rng.standard_normal(3)
        found = chain.adjoint(torch.from_numpy(y)[None])[0].tolist()
        off = [Fraction(f) - t for f, t in zip(found, exact_image([b.T, a.T], y), strict=True)]
        total, most = sum(map(abs, off)), sum(abs(Fraction(float(v))) for v in y)
        assert total <= Fraction(chain.evaluation_error.transposed.l1) * most + Fraction(
            chain.underflow
        )


def test_evaluation_error_of_a_cancelling_sum() -> None:
    """``x/3 + x·(2/3) − x``: computed zero or not, the truth is within the error."""
    third = Dense(torch.full((1, 1), 1.0 / 3.0, dtype=torch.float64))
    rest = Dense(torch.full((1, 1), 2.0 / 3.0, dtype=torch.float64))
    minus = Dense(torch.full((1, 1), -1.0, dtype=torch.float64))
    total = Sum((third, rest, minus))
    truth = Fraction(1.0 / 3.0) + Fraction(2.0 / 3.0) - 1
    found = Fraction(float(total.apply(torch.ones(1, 1, dtype=torch.float64))))
    assert abs(found - truth) <= Fraction(total.evaluation_error.l2)
    for norm in NORMS:
        assert Fraction(NORMS[norm](total, NormSettings()).value) >= abs(truth)


def test_rearrangements_round_nothing() -> None:
    for operator in (Reshape((2, 3), (6,)), identity((4,))):
        assert operator.evaluation_error == Norms(0.0, 0.0, 0.0)
        assert operator.underflow == 0.0
    assert math.isfinite(dense(2, 2).largest_gain)
