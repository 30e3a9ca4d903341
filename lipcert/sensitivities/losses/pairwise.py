"""The widest pair of rows of a last dense layer: its part in a cross-entropy's gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.errors import InputError
from lipcert.rounding import add_up, gamma, mul_up, power_of_two_below, sqrt_up

UNDERFLOW = 1e-290
"""More than all that underflow can take from squares of rows scaled to about 1."""


def widest_pair_bound(W: Tensor, *, smoothing: float, place: str) -> float:
    """Upper bound of ``max_{j≠y} ‖w_j − (1−a)w_y − a·w̄‖`` over rows of W ``(K, n)``, w̄ their mean.

    Centred at the mean, ``v = w − w̄``, it is ``‖v_j − (1−a)v_y‖``: from the Gram matrix of v in one
    product.  No v is longer than the result (the mean over all y is v_j), so that the product's
    error γ_n·‖v_j‖‖v_y‖ (Higham 2002, 3.5) is a relative one.  Raises InputError.
    """
    if W.ndim != 2 or W.shape[0] < 2 or W.is_complex() or not bool(W.isfinite().all()):
        raise InputError(
            place,
            f"a last layer of shape {tuple(W.shape)} is not a finite real matrix of 2 rows or more",
            "give the weights (K, n)",
        )
    rows = W.detach().to(torch.float64)
    largest = float(rows.abs().max()) if rows.numel() else 0.0
    if largest == 0.0:
        return 0.0
    scale = power_of_two_below(largest)
    rows = rows / scale
    count, width = rows.shape
    centred = rows - rows.mean(0)
    gram = centred @ centred.T
    keep = 1.0 - smoothing
    square = gram.diagonal()
    forms = square[:, None] + keep * keep * square - 2.0 * keep * gram
    # sizes of what was rounded: centred rows, and rows
    radius = _longest_up(square, width)
    rounding = mul_up(4.0, gamma(width + 16), radius, radius)
    pair = sqrt_up(add_up(max(0.0, float(forms.max())), rounding, UNDERFLOW))
    moved = mul_up(4.0, gamma(1), radius)
    if smoothing:
        longest = _longest_up(rows.square().sum(1), width)
        moved = add_up(moved, mul_up(smoothing, gamma(count + 2), longest))
    return mul_up(scale, add_up(pair, moved, UNDERFLOW))


def _longest_up(squares: Tensor, width: int) -> float:
    """Upper bound of the longest row, from computed squares of norms."""
    most = mul_up(max(0.0, float(squares.max())), 1.0 + 4.0 * gamma(width + 2))
    return sqrt_up(add_up(most, UNDERFLOW))
