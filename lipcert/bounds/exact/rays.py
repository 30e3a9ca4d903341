"""Slopes that a model takes far from zero: they show that a bound is the constant itself.

Every activation is linear there up to a remainder that fades beside its argument.  So along a ray
``t·x`` the biases fade as well, and as t grows the Jacobian tends to ``A_L D_{L−1} … D_1 A_1``,
each D the slopes far to the left or to the right by the sign of the neuron, where none that matters
stays on its corner.  The constant is not below the norm of that product.

These are estimates in float64: no bound rests on them, only the remark that one is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.signals import Stage

FAR = 2.0**500
"""Where slopes are taken for those at infinity."""
SAME = 1e-9
"""Relative difference of slopes that are one slope, rounded outward."""
MARGIN = 1e-9
"""How far a neuron is from its corner, relative to all it sums up, where its side is clear."""
STEPS = 300
"""Steps towards a ray that has every neuron on its side."""
ROUNDING = 1e-8
"""Relative distance from a slope of the model at which a bound is that slope, rounded outward."""


@dataclass(frozen=True)
class FarLayer:
    """Neurons ``φ(weight · z)``, and their slopes far to the left and far to the right."""

    weight: Tensor
    left: Tensor
    right: Tensor

    def sides(self, slopes: Tensor) -> Tensor | None:
        """On which side, ±1, each neuron has a slope, 0 for both; None where one has it nowhere."""
        close = SAME * slopes.abs()
        right, left = (self.right - slopes).abs() <= close, (self.left - slopes).abs() <= close
        return right.double() - left.double() if bool((right | left).all()) else None

    def only(self, kept: Tensor) -> FarLayer:
        """Some of the neurons."""
        return FarLayer(self.weight[kept], self.left[kept], self.right[kept])


def far_layer(stage: Stage, weight: Tensor) -> FarLayer:
    """A stage of elementwise slopes, its operator written out."""
    one = torch.full((1, *stage.shape), FAR, dtype=torch.float64)
    left, right = (
        (stage.nonlinearity.evaluate(2.0 * x) - stage.nonlinearity.evaluate(x)) / x
        for x in (-one, one)
    )
    return FarLayer(weight, left.reshape(-1).nan_to_num(), right.reshape(-1).nan_to_num())


def far_slope_estimate(
    ray: Tensor, hidden: Sequence[FarLayer], last: Tensor, skip: Tensor | None = None
) -> float:
    """Norm of the Jacobian far along a ray; 0 where a neuron is too close to its corner."""
    signal, size = ray, ray.abs()
    jacobian: Tensor | None = None
    for layer in hidden:
        jacobian = layer.weight if jacobian is None else layer.weight @ jacobian
        signal, size = layer.weight @ signal, layer.weight.abs() @ size
        undecided = ~(signal.abs() > MARGIN * size) & (jacobian != 0.0).any(1)
        if bool(undecided.any()):
            return 0.0
        slope = torch.where(signal > 0.0, layer.right, layer.left)
        signal, size, jacobian = slope * signal, slope.abs() * size, slope[:, None] * jacobian
    whole = last if jacobian is None else last @ jacobian
    whole = whole if skip is None else whole + skip
    if not whole.numel() or not bool(torch.isfinite(whole).all()):
        return 0.0
    return float(torch.linalg.matrix_norm(whole, 2))


def rays_inside(wanted: Tensor, hint: Tensor | None = None) -> Iterator[Tensor]:
    """Rays likely to have ``wanted · x > 0`` in every row: the hint, least squares, projections."""
    if hint is not None:
        yield hint
        yield -hint
    sizes = wanted.norm(dim=1)
    rows = wanted[sizes > 0.0] / sizes[sizes > 0.0][:, None]
    if not bool(torch.isfinite(rows).all()):
        return
    if not len(rows):
        generator = torch.Generator().manual_seed(0)
        yield torch.randn(wanted.shape[1], dtype=torch.float64, generator=generator)
        return
    ones = torch.ones(len(rows), 1, dtype=torch.float64)
    ray = torch.linalg.lstsq(rows, ones, driver="gelsd").solution[:, 0]
    yield ray
    reach = rows @ ray
    for _ in range(STEPS):  # towards the row violated most (Agmon 1954, Motzkin)
        worst = int(reach.argmin())
        if float(reach[worst]) > 0.5:
            break
        ray = ray + (1.0 - reach[worst]) * rows[worst]
        reach = rows @ ray
    yield ray


def comes_close(
    value: float,
    rays: Iterable[Tensor],
    hidden: Sequence[FarLayer],
    last: Tensor,
    skip: Tensor | None = None,
) -> bool:
    """Whether the model is as steep as ``value`` far along one of the rays."""
    slopes = (far_slope_estimate(ray, hidden, last, skip) for ray in rays)
    return value == 0.0 or any(slope >= value * (1.0 - ROUNDING) for slope in slopes)
