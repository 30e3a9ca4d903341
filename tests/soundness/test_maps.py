"""Maps of the checker against their matrices, exactly; tori against explicit convolutions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from lipcert.checker.convolution import Convolution, Transposed
from lipcert.checker.exact import Rows, Weight
from lipcert.checker.maps import Dense, Gather, Linear, Scale
from lipcert.checker.positive import Refuted
from lipcert.checker.torus import prove_torus

Matrix = np.ndarray


def whole(rng: np.random.Generator, bits: int, *shape: int) -> np.ndarray:
    values = rng.integers(0, 1 << bits, size=shape) * rng.choice([-1, 1], size=shape)
    return values.astype(np.int64)


def weight(rng: np.random.Generator, *shape: int) -> Weight:
    return Weight(whole(rng, int(rng.integers(2, 55)), *shape), int(rng.integers(-60, 20)), 0.0)


def gather(rng: np.random.Generator) -> tuple[Linear, Matrix]:
    size, out = int(rng.integers(1, 9)), int(rng.integers(1, 40))
    index = rng.integers(-1, size, size=out)
    A = np.zeros((out, size), dtype=object)
    for o, i in enumerate(index):
        if i >= 0:
            A[o, i] = 1
    return Gather(index, size), A


def scale(rng: np.random.Generator) -> tuple[Linear, Matrix]:
    own = weight(rng, int(rng.integers(1, 12)))
    return Scale(own), np.diag(own.mantissa.astype(object))


def dense(rng: np.random.Generator) -> tuple[Linear, Matrix]:
    own, lead = weight(rng, *rng.integers(1, 8, size=2)), int(rng.integers(1, 4))
    return Dense(own, lead), np.kron(np.eye(lead, dtype=int).astype(object), own.mantissa)


def convolution(rng: np.random.Generator, axes: int = 2) -> tuple[Convolution, Matrix]:
    """A convolution with every option, and its matrix by the definition."""
    groups, out, inner = (int(v) for v in rng.integers(1, 3, size=3))
    kernel = [int(v) for v in rng.integers(1, 4, size=axes)]
    stride, dilation = ([int(v) for v in rng.integers(1, 4, size=axes)] for _ in range(2))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    pads = [int(rng.integers(0, r + 1)) for r in reach]
    sides = [max(1, r - p) + int(rng.integers(0, 4)) for r, p in zip(reach, pads, strict=True)]
    after = [int(rng.integers(0, r + 1)) for r in reach]
    room = zip(sides, pads, after, reach, stride, strict=True)
    outs = [(n + p + a - r) // s + 1 for n, p, a, r, s in room]
    own = weight(rng, groups * out, inner, *kernel)
    of = Convolution(own, *(tuple(v) for v in (sides, outs, stride, pads, dilation)), groups)
    A = np.zeros((groups * out * int(np.prod(outs)), groups * inner * int(np.prod(sides))), object)
    rows = np.arange(len(A)).reshape(groups * out, *outs)
    columns = np.arange(A.shape[1]).reshape(groups * inner, *sides)
    for c, i in itertools.product(range(groups * out), range(inner)):
        for place in itertools.product(*map(range, outs)):
            for tap in itertools.product(*map(range, kernel)):
                at = [
                    q * s + t * d - p
                    for q, s, t, d, p in zip(place, stride, tap, dilation, pads, strict=True)
                ]
                if all(0 <= a < n for a, n in zip(at, sides, strict=True)):
                    column = columns[(c // out * inner + i, *at)]
                    A[rows[(c, *place)], column] += int(own.mantissa[(c, i, *tap)])
    return of, A


def transposed(rng: np.random.Generator) -> tuple[Transposed, Matrix]:
    of, A = convolution(rng)
    return Transposed(**vars(of)), A.T


MAKERS = {
    "gather": gather,
    "scale": scale,
    "dense": dense,
    "convolution": convolution,
    "transposed": transposed,
}


def off(true: np.ndarray, found: Rows, exponent: int) -> None:
    """The exact rows are within the radius of those found."""
    unit, own = Fraction(2) ** exponent, Fraction(2) ** found.exponent
    flat = found.mantissa.reshape(len(true), -1)
    for row, near, radius in zip(true, flat, found.radius, strict=True):
        lost = sum((int(t) * unit - int(m) * own) ** 2 for t, m in zip(row, near, strict=True))
        assert lost <= Fraction(float(radius)) ** 2


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("seed", range(25))
def test_maps_are_their_matrices_both_ways(kind, seed):
    """Pushed and pulled, so that ⟨Ax, r⟩ = ⟨x, Aᵀr⟩ within the radii told."""
    rng = np.random.default_rng(seed)
    of, A = MAKERS[kind](rng)
    exponent = 0 if isinstance(of, Gather) else of.weight.exponent
    x, r = (whole(rng, int(rng.integers(1, 57)), 2, n) for n in reversed(A.shape))
    place = int(rng.integers(-30, 30))
    pushed = of.push(Rows(x, place, np.zeros(2)))
    off(x.astype(object) @ A.T, pushed, place + exponent)
    pulled = of.pull(Rows(r, place, np.zeros(2)))
    off(r.astype(object) @ A, pulled, place + exponent)
    norm = np.linalg.norm(np.ldexp(A.astype(float), exponent), 2)
    assert of.gain >= norm * (1.0 - 1e-12)


@pytest.mark.parametrize("kind", ["scale", "dense", "convolution", "transposed"])
@pytest.mark.parametrize("seed", range(8))
def test_what_weights_leave_out_is_in_the_radius(kind, seed):
    """Any true weight within the radius gives rows within theirs."""
    rng = np.random.default_rng(seed)
    of, A = MAKERS[kind](rng)
    size = of.weight.mantissa.shape
    shift = rng.integers(-1000, 1000, size=size)
    moved = type(of)(
        **{
            **{k: v for k, v in vars(of).items() if k in of.__dataclass_fields__},
            "weight": Weight(
                of.weight.mantissa + shift,
                of.weight.exponent,
                float(np.linalg.norm(shift.astype(float)) * 2.0**of.weight.exponent * 1.0000001),
            ),
        }
    )
    x, r = (whole(rng, 30, 2, n) for n in reversed(A.shape))
    off(x.astype(object) @ A.T, moved.push(Rows(x, 0, np.zeros(2))), of.weight.exponent)
    off(r.astype(object) @ A, moved.pull(Rows(r, 0, np.zeros(2))), of.weight.exponent)
    assert moved.gain >= np.linalg.norm(np.ldexp(A.astype(float), of.weight.exponent), 2)


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_tori_hold_the_image_and_are_the_circular_norm(seed, axes):
    rng = np.random.default_rng([seed, axes])
    of, A = convolution(rng, axes)
    while not A.any():
        of, A = convolution(rng, axes)
    kernel = of.weight.mantissa.shape[2:]
    coarse, around = [], []
    for n, out, s, p, d, k in zip(
        of.spatial, of.out_spatial, of.stride, of.pads, of.dilation, kernel, strict=True
    ):
        least = max(n + p, (out - 1) * s - p + d * (k - 1) + 1)
        coarse.append(max(out, -(-least // s)) + int(rng.integers(0, 2)))
        around.append(coarse[-1] * s)
    explicit = np.linalg.norm(np.ldexp(A.astype(float), of.weight.exponent), 2)
    circular = np.linalg.norm(
        np.ldexp(wrapped(of, coarse, around).astype(float), of.weight.exponent), 2
    )
    assert circular >= explicit * (1.0 - 1e-12)
    prove_torus(of, tuple(coarse), Fraction(circular * (1.0 + 1e-8)), "it")
    for size in (circular * (1.0 - 1e-8), explicit * (1.0 - 1e-8)):
        with pytest.raises(Refuted):
            prove_torus(of, tuple(coarse), Fraction(size), "it")


def wrapped(of: Convolution, coarse: list[int], around: list[int]) -> np.ndarray:
    """The matrix of the circular convolution, by the definition."""
    out, inner = len(of.weight.mantissa) // of.groups, of.weight.mantissa.shape[1]
    A = np.zeros((len(of.weight.mantissa), *coarse, of.groups * inner, *around), dtype=np.int64)
    for c, i in itertools.product(range(len(of.weight.mantissa)), range(inner)):
        for place in itertools.product(*map(range, coarse)):
            for tap in itertools.product(*map(range, of.weight.mantissa.shape[2:])):
                parts = zip(place, of.stride, tap, of.dilation, of.pads, around, strict=True)
                at = [(q * s + t * d - p) % n for q, s, t, d, p, n in parts]
                A[(c, *place, c // out * inner + i, *at)] += of.weight.mantissa[(c, i, *tap)]
    return A.reshape(len(of.weight.mantissa) * int(np.prod(coarse)), -1)
