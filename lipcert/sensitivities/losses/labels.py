"""Labels as losses read them: class indices, signs and vectors, checked against the outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from lipcert.errors import InputError

NORM_ROUNDED = 1.0 + 2.0**-40
"""Factor by which the norm of a target may exceed its bound, for it is rounded; constants allow
for it twice over."""


def class_indices(labels: Tensor, z: Tensor, place: str) -> Tensor:
    """Indices ``(N,)`` from indices ``(N,)`` or one-hot rows ``(N, K)``.  Raises InputError."""
    count, outputs = z.shape
    if labels.shape == (count, outputs):
        hot = labels != 0
        if not bool(((labels == 1) == hot).all() & (hot.sum(1) == 1).all()):
            raise InputError(place, "a label is not one-hot", "give one 1 and zeros, or an index")
        return hot.long().argmax(1)
    if labels.shape != (count,):
        raise _misshapen(labels, place, f"class indices ({count},) or one-hot ({count}, {outputs})")
    if labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(place, f"labels are {labels.dtype}", "give class indices as integers")
    fits = (labels >= 0) & (labels < outputs) & (labels == labels.floor())
    if not bool(fits.all()):
        worst = labels[~fits][0].item()
        raise InputError(
            place, f"label {worst} is no class index", f"give whole numbers from 0 to {outputs - 1}"
        )
    return labels.long()


def signs(labels: Tensor, z: Tensor, place: str) -> Tensor:
    """Signs ``(N, K)`` from ±1 or 0/1 for each output, or class indices one-vs-all where K > 1.

    Raises InputError.
    """
    count, outputs = z.shape
    if outputs > 1 and labels.shape == (count,):
        targets = torch.full_like(z, -1.0, requires_grad=False)
        return targets.scatter_(1, class_indices(labels, z, place)[:, None], 1.0)
    given = labels[:, None] if labels.ndim == 1 else labels
    if given.shape != (count, outputs):
        raise _misshapen(labels, place, f"({count}, {outputs}) of ±1 or of 0 and 1")
    positive = given == 1
    if not bool((positive | (given == -1)).all() or (positive | (given == 0)).all()):
        raise InputError(
            place, "labels are neither all ±1 nor all 0 or 1", "give the two classes as -1 and 1"
        )
    return torch.where(positive, 1.0, -1.0).to(z.dtype)


def vectors(labels: Tensor, z: Tensor, place: str) -> Tensor:
    """Real targets ``(N, K)``; ``(N,)`` where K = 1.  Raises InputError."""
    count, outputs = z.shape
    given = labels[:, None] if labels.ndim == 1 and outputs == 1 else labels
    if given.shape != (count, outputs):
        wanted = f"target vectors ({count}, {outputs})"
        if labels.shape == (count,):
            wanted += ", for it takes no class indices, or leave the data out"
        raise _misshapen(labels, place, wanted)
    if given.is_complex() or not bool(given.isfinite().all()):
        raise InputError(place, "a target is not a finite number", "remove such samples")
    return given.to(z.dtype)


def check_norms(targets: Tensor, most: float, place: str) -> None:
    """Raises InputError where a target is longer than ``most``, up to the factor NORM_ROUNDED."""
    norms = torch.linalg.vector_norm(targets.to(torch.float64), dim=1)
    if bool((norms > most * NORM_ROUNDED).any()):
        raise InputError(
            place,
            f"a target has norm {float(norms.max()):.9g}, above target_norm = {most:.9g}",
            "raise target_norm to a bound that holds for every possible example",
        )


def _misshapen(labels: Tensor, place: str, wanted: str) -> InputError:
    return InputError(place, f"labels have shape {tuple(labels.shape)}", f"give {wanted}")
