"""Convolutions between images of several resolutions on one torus: one matrix per frequency.

All images of a model live on tori that are multiples of a coarse one.  The positions ``q·μ + φ``
of an image, φ in ``[0, q)``, are the phases of the coarse position μ: they count as channels, and
every stride-s convolution, circular on its torus, is a plain convolution over μ.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from lipcert.operators import Convolution, Shape
from lipcert.rounding import UNIT_ROUNDOFF
from lipcert.spectral.torus import FrequencyBlocks, twiddles


def polyphase_blocks(
    convolution: Convolution, phases: Shape, coarse: Shape, shift: Shape | None = None
) -> FrequencyBlocks:
    """Fourier matrices ``(frequencies, out · Πphases, in · Π(s·phases))`` on the coarse torus.

    Output position ``q·μ + ψ`` reads ``s·(q·μ + ψ) + τ = s·q·(μ + κ) + φ``: the entry from
    (i, φ) to (o, ψ) is ``Σ_τ W[o, i, τ] e^{iω·κ}``.  Channels come first, phases row-major.
    Groups are written out; a real kernel needs half of the frequencies.

    Parameters
    ----------
    phases : q of the output, per axis.
    shift : what is added to every tap's offset ``d·t``; minus the leading pads unless given.
    """
    moved = shift or tuple(-pad for pad in convolution.pads_begin)
    fine = [q * s for q, s in zip(phases, convolution.stride, strict=True)]
    taps = list(itertools.product(*(range(k) for k in convolution.kernel)))
    reads: dict[tuple[int, int], list[tuple[int, tuple[int, ...]]]] = {}
    for place, psi in enumerate(itertools.product(*(range(q) for q in phases))):
        for number, tap in enumerate(taps):
            axes = zip(convolution.stride, psi, convolution.dilation, tap, moved, strict=True)
            read = [s * p + d * t + a for s, p, d, t, a in axes]
            kappa = tuple(r // q for r, q in zip(read, fine, strict=True))
            phi = 0
            for r, q in zip(read, fine, strict=True):
                phi = phi * q + r % q
            reads.setdefault((place, phi), []).append((number, kappa))
    weight = ungrouped(convolution).reshape(*_sizes(convolution), len(taps))
    out, inner = weight.shape[:2]
    shape = out, math.prod(phases), inner, math.prod(fine)
    half = math.prod(coarse[:-1]) * (coarse[-1] // 2 + 1)
    blocks = torch.zeros(half, *shape, dtype=torch.complex128, device=weight.device)
    totals = torch.zeros(shape, dtype=torch.float64, device=weight.device)
    for (psi_place, phi_place), terms in reads.items():
        chosen = weight[..., [number for number, _ in terms]]
        real, imaginary = (
            torch.from_numpy(part).to(weight.device)
            for part in twiddles(list(coarse), [list(kappa) for _, kappa in terms])
        )
        flat = chosen.reshape(-1, len(terms)).T
        entry = torch.complex(real @ flat, imaginary @ flat)
        blocks[:, :, psi_place, :, phi_place] = entry.reshape(half, out, inner)
        totals[:, psi_place, :, phi_place] = chosen.abs().sum(-1)
    per_entry = UNIT_ROUNDOFF * (24.0 * len(coarse) + 8.0 * (len(taps) + 4))
    size = float(totals.square().sum().sqrt())
    return FrequencyBlocks(
        blocks.reshape(half, out * shape[1], inner * shape[3]), size * per_entry * (1.0 + 1e-9)
    )


def _sizes(convolution: Convolution) -> tuple[int, int]:
    return convolution.weight.shape[0], convolution.weight.shape[1] * convolution.groups


def ungrouped(convolution: Convolution) -> Tensor:
    """The weight ``(out, in, *kernel)`` with zeros between groups."""
    weight, groups = convolution.weight, convolution.groups
    if groups == 1:
        return weight
    out, inner = weight.shape[0] // groups, weight.shape[1]
    full = weight.new_zeros(weight.shape[0], inner * groups, *weight.shape[2:])
    for group in range(groups):
        rows, columns = group * out, group * inner
        full[rows : rows + out, columns : columns + inner] = weight[rows : rows + out]
    return full
