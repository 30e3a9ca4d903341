"""The matrices of a circular convolution: right to within the error that is claimed for them."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from generators.operators import convolution

from lipcert.operators import Convolution
from lipcert.spectral.torus import frequency_blocks, torus_size


def exact_blocks(operator: Convolution, torus: tuple[int, ...]) -> list[mpmath.matrix]:
    """``Ŵ(ω)[o, (i, r)] = Σ_{τ ≡ r} W[o, i, τ] e^{iω·q}`` in forty digits, phases as they come."""
    weight = operator.weight.numpy()
    coarse = [m // s for m, s in zip(torus, operator.stride, strict=True)]
    half = [*coarse[:-1], coarse[-1] // 2 + 1]
    taps = list(itertools.product(*(range(k) for k in operator.kernel)))
    places = [[t * d for t, d in zip(tap, operator.dilation, strict=True)] for tap in taps]
    phases: list[tuple[int, ...]] = []
    for place in places:
        residue = tuple(p % s for p, s in zip(place, operator.stride, strict=True))
        if residue not in phases:
            phases.append(residue)
    out, inner = weight.shape[0] // operator.groups, weight.shape[1]
    found = []
    for frequency in itertools.product(*(range(n) for n in half)):
        for group in range(operator.groups):
            block = mpmath.matrix(out, inner * len(phases))
            for tap, place in zip(taps, places, strict=True):
                residue = tuple(p % s for p, s in zip(place, operator.stride, strict=True))
                turn = sum(
                    mpmath.mpf(f * (p // s)) / n
                    for f, p, s, n in zip(frequency, place, operator.stride, coarse, strict=True)
                )
                phase = mpmath.expjpi(2 * turn)
                for o, i in itertools.product(range(out), range(inner)):
                    column = phases.index(residue) * inner + i
                    block[o, column] += (
                        mpmath.mpf(float(weight[(group * out + o, i, *tap)])) * phase
                    )
            found.append(block)
    return found


@pytest.mark.parametrize("seed", range(25))
def test_blocks_lie_within_their_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shaped = convolution(rng, lead=1)
    weight = rng.standard_normal(tuple(shaped.weight.shape)) * 10.0 ** rng.integers(-8, 8)
    operator = shaped.with_weight(torch.from_numpy(weight), shaped.error)
    torus = torus_size(operator)
    if math.prod(torus) > 300:
        return
    family = frequency_blocks(operator, torus)
    with mpmath.workdps(40):
        exact = exact_blocks(operator, torus)
        assert len(exact) == family.blocks.shape[0]
        for block, truth in zip(family.blocks, exact, strict=True):
            assert tuple(block.shape) == (truth.rows, truth.cols)
            off = mpmath.mpf(0)
            for o, i in itertools.product(range(truth.rows), range(truth.cols)):
                entry = complex(block[o, i])
                off += abs(mpmath.mpc(entry.real, entry.imag) - truth[o, i]) ** 2
            assert mpmath.sqrt(off) <= mpmath.mpf(family.error)
    assert family.error <= 1e-12 * float(np.abs(weight).sum() + 1e-300)


def test_half_of_the_frequencies_is_all_of_them() -> None:
    """Those left out are conjugates: the full grid has no larger singular value."""
    for seed in range(30):
        operator = convolution(np.random.default_rng(seed), lead=1)
        torus = torus_size(operator)
        family = frequency_blocks(operator, torus)
        kept = float(torch.linalg.matrix_norm(family.blocks, 2).max())
        coarse = [m // s for m, s in zip(torus, operator.stride, strict=True)]
        largest = 0.0
        for frequency in itertools.product(*(range(n) for n in coarse)):
            block = _block(operator, coarse, frequency)
            largest = max(largest, max(float(np.linalg.norm(part, 2)) for part in block))
        assert kept >= largest * (1.0 - 1e-12)


def _block(
    operator: Convolution, coarse: list[int], frequency: tuple[int, ...]
) -> list[np.ndarray]:
    """The matrices of all groups at one frequency, from the definition."""
    weight = operator.weight.numpy()
    phases = list(itertools.product(*(range(s) for s in operator.stride)))
    out = weight.shape[0] // operator.groups
    blocks = [
        np.zeros((out, weight.shape[1] * len(phases)), complex) for _ in range(operator.groups)
    ]
    for tap in itertools.product(*(range(k) for k in operator.kernel)):
        place = [t * d for t, d in zip(tap, operator.dilation, strict=True)]
        residue = tuple(p % s for p, s in zip(place, operator.stride, strict=True))
        turn = sum(
            f * (p // s) / n
            for f, p, s, n in zip(frequency, place, operator.stride, coarse, strict=True)
        )
        column = phases.index(residue) * weight.shape[1]
        for group, block in enumerate(blocks):
            rows = weight[(slice(group * out, (group + 1) * out), slice(None), *tap)]
            block[:, column : column + weight.shape[1]] += rows * np.exp(2j * np.pi * turn)
    return blocks
