"""Fourier matrices of what an image reads, through images that have no coordinates of their own."""

from __future__ import annotations

import torch

from lipcert.bounds.torus.geometry import Geometry
from lipcert.bounds.torus.images import Images
from lipcert.bounds.torus.maps import ImageMap
from lipcert.conic.fourier import Reading
from lipcert.rounding import UNIT_ROUNDOFF, add_up, mul_up
from lipcert.spectral.polyphase import polyphase_blocks
from lipcert.spectral.tensors import frobenius_up


class Readings:
    """The readings of one part's images by signal, each found once.

    An image without coordinates is a product: its own reading, times that of what reads it.
    """

    def __init__(self, images: Images, geometry: Geometry, device: torch.device) -> None:
        self.images, self.geometry, self.device = images, geometry, device
        self.found: dict[int, dict[int, Reading]] = {}

    def of(self, number: int) -> dict[int, Reading]:
        """By signal, what an image reads."""
        if number not in self.found:
            self.found[number] = self.through(number, self.images.reads[number])
        return self.found[number]

    def through(self, number: int, reads: dict[int, list[ImageMap]]) -> dict[int, Reading]:
        """By signal, what maps into an image read."""
        total: dict[int, Reading] = {}
        for source, maps in reads.items():
            for single in maps:
                own = self._fourier(single, source, number)
                parts = {source: own}
                if source < 0:
                    parts = {j: product(own, inner) for j, inner in self.of(source).items()}
                for j, part in parts.items():
                    total[j] = summed(total[j], part) if j in total else part
        return total

    def _fourier(self, single: ImageMap, source: int, number: int) -> Reading:
        geometry = self.geometry
        if single.convolution is None:
            size = self.images.shapes[source][1] * geometry.count(source)
            unit = torch.eye(size, dtype=torch.complex128, device=self.device)
            return Reading(unit.expand(geometry.frequencies, -1, -1))
        coarse_side = source if single.adjoint else number
        family = polyphase_blocks(
            single.convolution.to(self.device),
            geometry.phases[coarse_side],
            geometry.coarse,
            single.shift,
        )
        matrix = family.blocks.mH if single.adjoint else family.blocks
        return Reading(matrix, add_up(family.error, single.error))


def product(left: Reading, right: Reading) -> Reading:
    """One reading behind another: ``(A + ΔA)(B + ΔB)``, and the rounding of the product."""
    matrix = left.matrix.to(right.matrix.dtype) @ right.matrix
    sizes = [float(frobenius_up(reading.matrix).max()) for reading in (left, right)]
    rounding = 16.0 * (left.matrix.shape[2] + 4) * UNIT_ROUNDOFF
    error = add_up(
        mul_up(sizes[0], sizes[1], rounding),
        mul_up(add_up(sizes[0], left.error), right.error),
        mul_up(left.error, sizes[1]),
    )
    return Reading(matrix, error)


def summed(one: Reading, other: Reading) -> Reading:
    """The sum of two readings."""
    sizes = [float(frobenius_up(reading.matrix).max()) for reading in (one, other)]
    rounding = mul_up(add_up(*sizes), 4.0 * UNIT_ROUNDOFF)
    return Reading(one.matrix + other.matrix, add_up(one.error, other.error, rounding))
