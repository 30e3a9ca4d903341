"""Products on the pattern against dense algebra."""

from __future__ import annotations

import pytest
import torch
from sparse import BELOW, FILLED, KINDS, SIZES, Kind

from lipcert.conic.blockwise import cholesky
from lipcert.conic.completion import SparseInverse, inverse_of
from lipcert.conic.products import hermitian, mirrored, product, reduced, swapped, triple

BOTH = pytest.mark.parametrize("kind", KINDS, ids=["full entry", "diagonal entry"])
EVERY = FILLED | {(j, i) for i, j in FILLED}


def inverse(kind: Kind, seed: int) -> tuple[SparseInverse, torch.Tensor]:
    full = kind.definite(seed)
    return inverse_of(cholesky(kind.blocks(full), SIZES), BELOW), torch.linalg.inv(full)


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_products(seed: int, kind: Kind) -> None:
    (A, A_full), (B, B_full) = inverse(kind, seed), inverse(kind, seed + 10)
    N = kind.sparse(seed + 20)
    found = product(A, reduced(A, mirrored(kind.blocks(N)), B), B)
    whole = A_full @ N @ B_full
    assert set(found) == EVERY
    assert kind.is_close(found, whole)
    assert kind.is_close(swapped(found), whole.mH)
    assert kind.is_close(hermitian(found), (whole + whole.mH) / 2.0)


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_products_of_five(seed: int, kind: Kind) -> None:
    (A, A_full), (B, B_full) = inverse(kind, seed), inverse(kind, seed + 10)
    N = kind.sparse(seed + 20)
    both = mirrored(kind.blocks(N))
    between, within = reduced(A, both, B), reduced(B, both, B)
    ANB, BNB = product(A, between, B), product(B, within, B)
    outer = triple(A, between, B, within, B, ANB, BNB)
    assert set(outer) == EVERY
    assert kind.is_close(outer, A_full @ N @ B_full @ N @ B_full)
    inner = triple(B, between.swapped, A, between, B, swapped(ANB), ANB)
    assert kind.is_close(inner, B_full @ N @ A_full @ N @ B_full)
