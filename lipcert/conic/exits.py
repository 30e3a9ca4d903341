"""How long what a family of blocks ends in can be, proved for every frequency.

With ``P ≻ 0`` the linear part of the blocks and R what is read of their coordinates,
``[[P, Rᴴ], [R, V]] ≽ 0`` says ``V ≽ R P⁻¹ Rᴴ``: the exit z of any difference ``e`` with
``eᴴ P e ≤ y_0 ‖dx‖²`` is ``V^{1/2} w`` with ``‖w‖² ≤ y_0 ‖dx‖²``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipcert.conic.blockwise import Blocks, are_proven_above
from lipcert.conic.fourier import FourierBlock, Reading
from lipcert.conic.fourier_proof import LEAST_MULTIPLIER, scaled, scales
from lipcert.conic.fourier_rounding import distance_to_true
from lipcert.conic.problem import power_of_two
from lipcert.rounding import add_up, mul_up
from lipcert.spectral.tensors import frobenius_up, gamma_of_product

RAISES = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2)
"""What is added to a diagonal of about 1 until a proof goes through."""
LEAST_SHARE = 1e-6
"""Of the longest exit: shorter ones count as that long where they are scaled to 1."""


def exit_factors(family: FourierBlock, reads: Mapping[int, Reading], y: Tensor) -> Tensor | None:
    """Factors C ``(B, q, q)`` with ``C Cᴴ ≽ R P⁻¹ Rᴴ`` for the true P and R; None unproved.

    Parameters
    ----------
    family : blocks without an output.
    reads : R by group, ``(B, q, n)`` each.
    y : multipliers.
    """
    if not bool(torch.isfinite(y).all()) or not bool((y >= LEAST_MULTIPLIER).all()):
        return None
    scale, own = scales(family, y), family.coordinates
    blocks = scaled(family, family.linear_part(y), scale)
    whole, R = family.whole(blocks), exit_matrix(family, reads) * scale
    factor, info = torch.linalg.cholesky_ex(whole)
    if bool(info.any()):
        return None
    half = torch.linalg.solve_triangular(factor, R.mH, upper=False)
    V = half.mH @ half
    V = (V + V.mH) / 2.0
    diagonal = V.diagonal(dim1=1, dim2=2).real
    unit = power_of_two(diagonal.clamp(min=LEAST_SHARE * float(diagonal.max()) + 1e-290).rsqrt())
    V = unit[:, :, None] * V * unit[:, None, :]
    last, most = len(family.sizes), float(unit.max())
    floor = [distance_to_true(family, y, scale)]
    for g, part in reads.items():
        blocks[last, g] = (unit[:, :, None] * R)[:, :, own[g]]
        floor.append(mul_up(part.error, float(scale[own[g]].max()), most))
    blocks[last, last] = V
    if not _proved_by_raising(blocks, (*family.sizes, unit.shape[1]), add_up(*floor)):
        return None
    factors = _factor_above(blocks[last, last])
    return None if factors is None else factors / unit[:, :, None]


def _proved_by_raising(blocks: Blocks, sizes: tuple[int, ...], floor: float) -> bool:
    """Raises V at the frequencies that need it until all are proved; False where that fails."""
    last = len(sizes) - 1
    V = blocks[last, last]
    pending = torch.arange(len(V), device=V.device)
    raised = V.clone()
    for by in RAISES:
        raised[pending] = _raised(V[pending], by)
        some = {place: part[pending] for place, part in blocks.items()}
        some[last, last] = raised[pending]
        pending = pending[~are_proven_above(some, sizes, floor)]
        if not len(pending):
            blocks[last, last] = raised
            return True
    return False


def exit_matrix(family: FourierBlock, reads: Mapping[int, Reading]) -> Tensor:
    """R as ``(B, q, D)``."""
    count = next(iter(reads.values())).matrix.shape[1]
    shape = family.frequencies, count, family.side
    found = torch.zeros(shape, dtype=family.dtype, device=family.head_index.device)
    for g, part in reads.items():
        found[:, :, family.coordinates[g]] = part.matrix
    return found


def _factor_above(V: Tensor) -> Tensor | None:
    """A factor C with ``C Cᴴ ≽ V``, proved; None where rounding forbids it."""
    count = V.shape[1]
    factor: Tensor
    for raised in RAISES:
        factor, info = torch.linalg.cholesky_ex(_raised(V, raised))
        if bool(info.any()):
            continue
        product = factor @ factor.mH
        size = float(frobenius_up(factor).max())
        rounding = mul_up(size, size, gamma_of_product(count, is_complex=True))
        rounding = add_up(rounding, mul_up(2.0**-50, float(frobenius_up(V).max())))
        if bool(are_proven_above({(0, 0): product - V}, (count,), rounding).all()):
            return factor
    return None


def _raised(V: Tensor, by: float) -> Tensor:
    return V + by * torch.eye(V.shape[1], dtype=V.dtype, device=V.device)
