"""Zero-padded convolutions as compressions of circular ones: one small matrix per frequency.

A zero-padded convolution embeds its input in a torus, convolves circularly there, and keeps some
of the outputs, as long as no tap that wraps around meets the input window.  Embedding and
selection do not increase norms, so the circular norm is a bound, with no correction factor.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipcert.operators import Convolution, Shape
from lipcert.rounding import UNIT_ROUNDOFF


@dataclass(frozen=True)
class FrequencyBlocks:
    """The matrices of a circular convolution, one per frequency (and group).

    ``blocks`` is ``(B, out, in · phases)``; ``error`` bounds the spectral norm of what rounding
    did to any of them.
    """

    blocks: Tensor
    error: float


def torus_size(convolution: Convolution) -> Shape:
    """The smallest torus on which the zero-padded convolution is a compression of a circular one.

    Per axis ``M ≥ max(n + p, s·m_max + k − p, s·(m_max + 1))`` with k the dilated kernel side, p
    the leading pad and m_max the last output index, rounded up to a multiple of the stride.
    """
    sides = []
    for n, k, s, d, p, out in zip(
        convolution.spatial,
        convolution.kernel,
        convolution.stride,
        convolution.dilation,
        convolution.pads_begin,
        convolution.out_spatial,
        strict=True,
    ):
        reach = (k - 1) * d + 1
        side = max(n + p, s * (out - 1) + reach - p, s * out)
        sides.append(s * math.ceil(side / s))
    return tuple(sides)


def frequency_blocks(convolution: Convolution, torus: Shape) -> FrequencyBlocks:
    """Polyphase Fourier matrices of the circular convolution on ``torus``.

    With stride s the input splits by residue mod s; a tap at offset τ = s·q + r reads residue r
    shifted by q, so ``Ŵ(ω)[o, (i, r)] = Σ_{τ ≡ r} W[o, i, τ] e^{iω·q}`` on the grid of side M/s.
    Sums are direct, one term per tap.  A real kernel needs half of the frequencies.
    """
    coarse = [m // s for m, s in zip(torus, convolution.stride, strict=True)]
    offsets = [
        [(t * d) // s for t in range(k)]
        for k, d, s in zip(
            convolution.kernel, convolution.dilation, convolution.stride, strict=True
        )
    ]
    residues = [
        [(t * d) % s for t in range(k)]
        for k, d, s in zip(
            convolution.kernel, convolution.dilation, convolution.stride, strict=True
        )
    ]
    taps = list(itertools.product(*(range(k) for k in convolution.kernel)))
    turns = twiddles(coarse, [[o[t] for o, t in zip(offsets, tap, strict=True)] for tap in taps])
    phases: dict[tuple[int, ...], list[int]] = {}
    for position, tap in enumerate(taps):
        phase = tuple(r[t] for r, t in zip(residues, tap, strict=True))
        phases.setdefault(phase, []).append(position)
    groups = convolution.groups
    out, per_group = convolution.weight.shape[0] // groups, convolution.weight.shape[1]
    flat = convolution.weight.reshape(groups, out, per_group, len(taps))
    device = convolution.weight.device
    real, imaginary = (torch.from_numpy(part).to(device) for part in turns)
    parts, totals = [], []
    for chosen in phases.values():
        picked = flat[..., chosen].reshape(-1, len(chosen)).T
        shape = (real.shape[0], groups, out, per_group)
        parts.append(
            torch.complex(
                (real[:, chosen] @ picked).reshape(shape),
                (imaginary[:, chosen] @ picked).reshape(shape),
            )
        )
        totals.append(picked.abs().sum(0).reshape(groups, out * per_group))
    blocks = torch.cat(parts, dim=-1).reshape(-1, out, per_group * len(phases))
    largest = float(torch.cat(totals, dim=1).square().sum(1).max().sqrt())
    dims = len(coarse)
    per_entry = UNIT_ROUNDOFF * (24.0 * dims + 8.0 * (len(taps) + 4))
    return FrequencyBlocks(blocks, largest * per_entry * (1.0 + 1e-9))


def twiddles(grid: list[int], shifts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts ``(frequencies, shifts)`` of ``e^{iω·q}``, each within 24·u·dims.

    The phase k·q mod N is exact in integers; the table of N-th roots of unity has an argument
    error of at most 2π·2u and a few units in the last place of sine and cosine.
    """
    half = [*grid[:-1], grid[-1] // 2 + 1]
    frequencies = np.stack(
        [axis.reshape(-1) for axis in np.meshgrid(*(np.arange(n) for n in half), indexing="ij")], 1
    )
    product = np.ones((frequencies.shape[0], len(shifts)), dtype=np.complex128)
    for axis, n in enumerate(grid):
        angles = 2.0 * np.pi * np.arange(n) / n
        roots = np.cos(angles) + 1j * np.sin(angles)
        q = np.array([shift[axis] for shift in shifts])
        product = product * roots[np.outer(frequencies[:, axis], q) % n]
    return np.ascontiguousarray(product.real), np.ascontiguousarray(product.imag)
