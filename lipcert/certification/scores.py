"""What the score of a binary or one-class model certifies: AUROC under attack, and MCR.

A score f with Lipschitz constant L moves by at most Lε under a perturbation of size ε, so a
positive sample stays above a negative one where their scores differ by more than 2Lε.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipcert.certification.certificates import divide_down


@dataclass(frozen=True)
class AurocAt:
    """Certified AUROC at one ε: no attack of that size on both samples of a pair gets below it."""

    eps: float
    eps_text: str
    value: float


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a data set with labels 0 (negative) and 1 (positive), and what they certify.

    Parameters
    ----------
    values : ``(samples,)`` scores in real arithmetic up to ``error``; positive means class 1.
    signed_radii : ``(samples,)``, score over constant with the sign of correctness: no smaller
        perturbation changes the sign of the score.
    mcr : mean certified radius, the mean of signed scores over the constant, rounded downward.
    auroc : one entry per ε, empty where one of the classes does not occur.
    """

    values: np.ndarray
    error: float
    signed_radii: np.ndarray
    mcr: float
    auroc: tuple[AurocAt, ...]
    positives: int
    negatives: int


def scores_of(
    values: np.ndarray,
    labels: np.ndarray,
    constant: float,
    eps: tuple[tuple[float, str], ...],
    *,
    error: float = 0.0,
) -> Scores:
    """Everything that scores ``(samples,)`` certify under a Lipschitz constant.

    ``labels`` are 0 or 1, and ``error`` bounds the distance of each score to the true one.
    """
    signs = np.where(labels == 1, 1.0, -1.0)
    sizes = np.abs(values)
    if error:
        sizes = np.maximum(np.nextafter(sizes - error, -np.inf), 0.0)
    radii = divide_down(sizes, np.full_like(sizes, constant))
    positive, negative = values[labels == 1], values[labels != 1]
    both = len(positive) > 0 and len(negative) > 0
    table = (
        tuple(
            AurocAt(size, text, certified_auroc(positive, negative, constant, size, error=error))
            for size, text in eps
        )
        if both
        else ()
    )
    return Scores(
        values,
        error,
        signs * np.sign(values) * radii,
        mean_certified_radius(values, signs, constant, error=error),
        table,
        len(positive),
        len(negative),
    )


def certified_auroc(
    positive: np.ndarray,
    negative: np.ndarray,
    constant: float,
    eps: float,
    *,
    error: float = 0.0,
) -> float:
    """Lower bound of the AUROC under attacks of size ``eps`` on every sample.

    The share of pairs with s⁺ − s⁻ > 2Lε, pairs that are equal counting half (Béthune 2024,
    Prop. 12, with the sign of the shift put right); comparisons are exact, and with an ``error``
    of the scores on the safe side.
    """
    exact = 2 * (Fraction(constant) * Fraction(eps) + Fraction(error))
    shift = float(exact)
    if Fraction(shift) < exact:
        shift = float(np.nextafter(shift, np.inf))
    ordered = np.sort(positive)
    total = negative + shift
    with np.errstate(invalid="ignore"):
        high = total - negative
        rest = (negative - (total - high)) + (shift - high)  # exact: total + rest is the sum
    least = np.where(rest < 0.0, total, np.nextafter(total, np.inf))
    above = len(ordered) - np.searchsorted(ordered, least, side="left")
    equal = np.searchsorted(ordered, total, side="right") - np.searchsorted(ordered, total)
    ties = np.where((rest == 0.0) & (error == 0.0), equal, 0)
    twice = 2 * int(above.sum()) + int(ties.sum())
    return _float_down(Fraction(twice, 2 * len(positive) * len(negative)))


def mean_certified_radius(
    values: np.ndarray, signs: np.ndarray, constant: float, *, error: float = 0.0
) -> float:
    """``E[y·f] / L`` rounded downward (Béthune 2024, Def. 11); infinite for L = 0."""
    total = sum((Fraction(v) for v in (signs * values).tolist()), Fraction(0))
    mean = total / len(values) - Fraction(error)
    if constant == 0.0:
        return float("inf") if mean > 0 else 0.0
    return _float_down(mean / Fraction(constant))


def _float_down(exact: Fraction) -> float:
    """The largest float that is not above ``exact``, up to one step."""
    try:
        value = float(exact)
    except OverflowError:
        return sys.float_info.max if exact > 0 else -math.inf
    return value if Fraction(value) <= exact else float(np.nextafter(value, -np.inf))
