"""What dense stages read of an image, in Fourier space, and what that demands of the image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.bounds.torus.head import positions
from lipcert.errors import SolverError
from lipcert.operators import LinearOperator
from lipcert.rounding import UNIT_ROUNDOFF, add_up, gamma, mul_up
from lipcert.signals import SignalForm
from lipcert.spectral.explicit import explicit_matrix
from lipcert.spectral.tensors import frobenius_up, power_of_two_scale
from lipcert.spectral.torus import twiddles

MOST_ROWS, MOST_ELEMENTS = 2048, 1 << 26
"""That read the image, and of their matrix: beyond, a head is left to its coupling."""
RIDGE = 0.01
"""Of the mean demand, that is demanded in every direction."""


@dataclass(frozen=True, eq=False)
class Reader:
    """Rows of a stage, or of the output, over an image, in Fourier space.

    Parameters
    ----------
    fourier : ``(B, rows, q)``.
    error : bound of the spectral distance to the true rows, over all frequencies together.
    """

    fourier: Tensor
    error: float


def reading_operators(head: SignalForm) -> dict[int, LinearOperator]:
    """What reads signal 0: by stage, the output as one beyond the last."""
    tables = [*(stage.terms for stage in head.stages), head.output_terms]
    return {number: terms[0] for number, terms in enumerate(tables, start=1) if 0 in terms}


def is_readable(head: SignalForm) -> bool:
    """Whether what reads signal 0 is small enough to be looked at row by row."""
    rows = sum(operator.out_size for operator in reading_operators(head).values())
    return rows <= MOST_ROWS and rows * head.size(0) <= MOST_ELEMENTS


def readers_of(
    head: SignalForm, coarse: tuple[int, ...], phases: tuple[int, ...], device: torch.device
) -> dict[int, Reader]:
    """The readers of a head's image on its torus, by stage."""
    return {
        number: _transformed(*explicit_matrix(operator, device), head.input_shape, coarse, phases)
        for number, operator in reading_operators(head).items()
    }


def demanded(readers: Iterable[Reader]) -> Tensor:
    """Roots ``C_ω`` of the mean over all shifts of ``Σ WᵀW``, the rows of each reader of norm 1.

    What asks for ``‖C z‖²`` to be small is a stand-in for a head that is not shift-invariant: the
    mean of ``WᵀW`` over the shifts of an image is ``Ŵ_ωᴴ Ŵ_ω`` at every frequency.  Multipliers
    are chosen by it, and no bound rests on it.

    Raises SolverError where the rows are beyond float64.
    """
    found: Tensor | None = None
    for reader in readers:
        scaled = reader.fourier / power_of_two_scale(reader.fourier)
        gram = scaled.mH @ scaled
        if not bool(torch.isfinite(torch.view_as_real(gram)).all()):
            raise SolverError("lipsdp", "cannot read a head whose weights are beyond float64")
        largest = float(torch.linalg.eigvalsh(gram)[:, -1].max())
        gram = gram / largest if largest > 0.0 else gram
        found = gram if found is None else found + gram
    assert found is not None
    mean = float(found.diagonal(dim1=-2, dim2=-1).real.mean())
    ridge = RIDGE * mean if mean > 0.0 else 1.0
    unit = torch.eye(found.shape[-1], dtype=found.dtype, device=found.device)
    root: Tensor = torch.linalg.cholesky(found + ridge * unit).mH.contiguous()
    return root


def _transformed(
    matrix: Tensor,
    error: float,
    shape: tuple[int, ...],
    coarse: tuple[int, ...],
    phases: tuple[int, ...],
) -> Reader:
    """``W_ω = N^{-1/2} Σ_μ W_μ e^{iω·μ}`` for an image whose position ``q·μ + φ`` is in phase φ.

    Each entry is within ``(24 dims + 8 (N + 4)) u Σ_μ |W_μ| / √N``, and there are N frequencies.
    """
    channels, sides = shape[1], shape[2:]
    phase, cell = positions((1, 1, *sides), phases), torch.zeros(1, dtype=torch.int64)
    for n, q, m in zip(sides, phases, coarse, strict=True):
        cell = (cell[:, None] * m + torch.arange(n) // q).reshape(-1)
    count, cells = math.prod(phases), math.prod(coarse)
    spread = matrix.new_zeros(len(matrix), channels, count, cells)
    spread[:, :, phase, cell] = matrix.reshape(len(matrix), channels, -1)
    shifts = [list(shift) for shift in itertools.product(*(range(n) for n in coarse))]
    real, imaginary = (
        torch.from_numpy(part).to(matrix.device) for part in twiddles(list(coarse), shifts)
    )
    flat = spread.reshape(-1, cells)
    found = torch.complex(flat @ real.T, flat @ imaginary.T) / math.sqrt(cells)
    found = found.reshape(len(matrix), channels * count, -1).permute(2, 0, 1).contiguous()
    per_entry = UNIT_ROUNDOFF * (24.0 * len(coarse) + 8.0 * (cells + 4))
    size = float(frobenius_up(flat.abs().sum(1)[None, None]))
    return Reader(found, add_up(error, mul_up(per_entry, size, 1.0 + gamma(cells))))
