"""Convolutions between resolutions of one torus: the explicit circular map, frequency by frequency."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch

from lipcert.operators import Convolution
from lipcert.operators.base import ZERO_NORMS
from lipcert.spectral.polyphase import polyphase_blocks


def random_convolution(rng: np.random.Generator) -> tuple[Convolution, tuple[int, int]]:
    groups = int(rng.integers(1, 3))
    kernel = tuple(int(k) for k in rng.integers(1, 4, 2))
    weight = rng.standard_normal((2 * groups, int(rng.integers(1, 3)), *kernel))
    operator = Convolution(
        torch.from_numpy(weight),
        (9, 9),
        stride=tuple(int(s) for s in rng.integers(1, 3, 2)),
        dilation=tuple(int(s) for s in rng.integers(1, 3, 2)),
        pads_begin=tuple(int(p) for p in rng.integers(0, 3, 2)),
        pads_end=(2, 2),
        groups=groups,
        error=ZERO_NORMS,
    )
    return operator, tuple(int(q) for q in rng.integers(1, 3, 2))


def circular(operator: Convolution, x: np.ndarray) -> np.ndarray:
    """``y[o, m] = Σ W[o, i, t] x[i, s·m + d·t − p mod M]`` for ``(in, M, M')``, term by term."""
    weight = operator.weight.numpy()
    sides = [m // s for m, s in zip(x.shape[1:], operator.stride, strict=True)]
    out = len(weight) // operator.groups
    inner = weight.shape[1]
    y = np.zeros((len(weight), *sides))
    for o, m in itertools.product(range(len(weight)), itertools.product(*map(range, sides))):
        first = o // out * inner
        for i, t in itertools.product(
            range(inner), itertools.product(*map(range, operator.kernel))
        ):
            place = tuple(
                (s * a + d * b - p) % n
                for s, a, d, b, p, n in zip(
                    operator.stride,
                    m,
                    operator.dilation,
                    t,
                    operator.pads_begin,
                    x.shape[1:],
                    strict=True,
                )
            )
            y[(o, *m)] += weight[(o, i, *t)] * x[(first + i, *place)]
    return y


def transformed(x: np.ndarray, phases: tuple[int, ...]) -> np.ndarray:
    """``(frequencies, channels · phases)``: the unitary transform over the coarse positions."""
    channels, *sides = x.shape
    coarse = [n // q for n, q in zip(sides, phases, strict=True)]
    split = x.reshape(channels, coarse[0], phases[0], coarse[1], phases[1])
    split = split.transpose(0, 2, 4, 1, 3)
    hat = np.fft.fft2(split, norm="ortho")[..., : coarse[1] // 2 + 1]
    return hat.reshape(channels * math.prod(phases), -1).T


@pytest.mark.parametrize("seed", range(20))
def test_the_circular_map_frequency_by_frequency(seed: int) -> None:
    rng = np.random.default_rng(seed)
    operator, phases = random_convolution(rng)
    coarse = tuple(int(m) for m in rng.integers(2, 5, 2))
    fine = tuple(q * s for q, s in zip(phases, operator.stride, strict=True))
    sides = [m * q for m, q in zip(coarse, fine, strict=True)]
    x = rng.standard_normal((operator.weight.shape[1] * operator.groups, *sides))
    family = polyphase_blocks(operator, phases, coarse)
    hat = transformed(x, fine)
    image = np.einsum("foi,fi->fo", family.blocks.numpy(), hat)
    assert np.allclose(image, transformed(circular(operator, x), phases), atol=1e-11)


@pytest.mark.parametrize("seed", range(6))
def test_rounding_lies_within_its_error(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    n = int(rng.integers(3, 12))
    weight = rng.standard_normal((1, 1, 5)) * 10.0 ** rng.integers(-8, 8)
    operator = Convolution(
        torch.from_numpy(weight),
        (n,),
        stride=(1,),
        dilation=(1,),
        pads_begin=(2,),
        pads_end=(2,),
    )
    family = polyphase_blocks(operator, (1,), (n,))
    with mpmath.workdps(40):
        for f in range(n // 2 + 1):
            exact = mpmath.mpc(0)
            for t in range(5):
                turn = mpmath.mpf(f * (t - 2)) / n
                exact += mpmath.mpf(float(weight[0, 0, t])) * mpmath.expjpi(2 * turn)
            found = complex(family.blocks[f, 0, 0])
            assert abs(mpmath.mpc(found) - exact) <= family.error
    assert family.error <= 1e-13 * float(np.abs(weight).sum())
