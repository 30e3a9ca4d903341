"""What rounding does to the matrices of a family, against the same in extended precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, whole

from lipcert.conic.fourier import FourierBlock
from lipcert.conic.fourier_proof import scales
from lipcert.conic.fourier_rounding import distance_to_true


def in_extended(block: FourierBlock, y: torch.Tensor) -> np.ndarray:
    """``P(y)``, every row and product in extended precision."""
    t = y.numpy().astype(np.longdouble)
    shape = block.frequencies, block.side, block.side
    found = np.zeros(shape, dtype=np.clongdouble)
    own = block.coordinates
    heads = np.arange(block.sizes[0])
    found[:, heads, heads] += t[block.head_index.numpy()]
    for row in block.rows:
        a = np.zeros((block.frequencies, len(row.index), block.side), dtype=np.clongdouble)
        for g, reading in row.reads.items():
            a[:, :, own[g]] += reading.matrix.numpy().astype(np.clongdouble)
        f = -row.centre.numpy().astype(np.longdouble)[:, None] * a
        if row.group is not None:
            places = np.arange(own[row.group].start, own[row.group].stop)
            f[:, np.arange(len(places)), places] += 1.0
        weight = t[row.index.numpy()]
        below = row.below.numpy().astype(np.longdouble) * weight
        if row.group is not None:
            found += np.einsum("bki,k,bkj->bij", f.conj(), weight, f)
        found -= np.einsum("bki,k,bkj->bij", a.conj(), below, a)
    C = np.zeros((block.frequencies, 2, block.side), dtype=np.clongdouble)
    for g, reading in block.output.items():
        C[:, :, own[g]] += reading.matrix.numpy().astype(np.clongdouble)
    return found - np.einsum("bki,bkj->bij", C.conj(), C)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", range(5))
def test_rounding_is_bounded_by_the_distance(seed: int, name: str) -> None:
    """Multipliers over six orders of magnitude; slopes whose squares are not exact."""
    block, count = FAMILIES[name](seed)
    generator = torch.Generator().manual_seed(seed)
    y = 10.0 ** (6.0 * torch.rand(count, dtype=torch.float64, generator=generator))
    scale = scales(block, y)
    exact = in_extended(block, y)
    computed = whole(block, block.matrices(y)).numpy()
    off = (computed - exact) * scale.numpy()[:, None] * scale.numpy()
    worst = float(np.sqrt((np.abs(off) ** 2).sum((1, 2))).max())
    floor = distance_to_true(block, y, scale)
    largest = float(np.abs(exact * scale.numpy()[:, None] * scale.numpy()).max())
    assert worst <= floor <= 1e-10 * max(1.0, largest)
