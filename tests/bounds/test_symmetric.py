"""Which operators symmetric blocks are recognised from."""

from __future__ import annotations

import pytest
import torch
from generators.drawing import Drawing

from lipcert.bounds import BoundContext
from lipcert.bounds.symmetric import plain, symmetric_bound
from lipcert.graph import Affine
from lipcert.operators import Adjoint, Convolution
from lipcert.signals import fold


def convolution(pad: int, kernel: int) -> Convolution:
    weight = torch.full((1, 1, kernel, kernel), 2.0, dtype=torch.float64)
    pads = (pad, pad)
    return Convolution(
        weight, (4, 4), stride=(1, 1), dilation=(1, 1), pads_begin=pads, pads_end=pads
    )


@pytest.mark.parametrize(("pad", "kernel"), [(0, 1), (0, 3), (1, 3), (2, 3)])
def test_an_adjoint_is_a_convolution_where_it_adds_zeros(pad: int, kernel: int) -> None:
    turned = Adjoint(convolution(pad, kernel))
    found = plain(turned)
    assert isinstance(found, Convolution)
    image = torch.arange(float(turned.in_size), dtype=torch.float64).reshape(1, *turned.in_shape)
    assert torch.equal(found.apply(image), turned.apply(image))
    assert torch.equal(found.adjoint(found.apply(image)), turned.adjoint(turned.apply(image)))


@pytest.mark.parametrize(("pad", "kernel"), [(1, 1), (3, 3)])
def test_an_adjoint_that_cuts_its_input_off_stays_as_it_is(pad: int, kernel: int) -> None:
    """``x + Wᵀ relu(W x)`` with W cutting off all but what the kernel leaves."""
    wide = convolution(pad, kernel)
    assert plain(Adjoint(wide)).in_shape == wide.out_shape
    drawn = Drawing(*wide.out_shape)
    value = drawn.relu(drawn.add(Affine(Adjoint(wide)), "x"))
    value = drawn.total("x", drawn.add(Affine(wide), value))
    assert symmetric_bound(fold(drawn.graph(value)), BoundContext()) is None
