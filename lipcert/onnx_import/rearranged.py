"""Telling equal rearrangements of one signal."""

from __future__ import annotations

import hashlib

from lipcert.operators import Centring, Indexing, LinearOperator, Reshape, Transpose


def key_of(operator: LinearOperator, source: str) -> tuple[object, ...] | None:
    """What makes two rearrangements or projections of one signal the same; None for others."""
    if isinstance(operator, Centring):
        return ("centring", source, operator.axes)
    if not isinstance(operator, Indexing):
        return None
    if isinstance(operator, Reshape):
        return ("reshape", source, operator.out_shape)
    if isinstance(operator, Transpose):
        return ("transpose", source, operator.permutation)
    digest = hashlib.sha256(operator.index.contiguous().numpy().tobytes()).digest()
    return ("index", source, operator.out_shape, digest)
