"""How noise is shared among layers, so that the whole is one Gaussian mechanism.

All layers of one step are released together: Gaussian noise of standard deviation s_d on the
*sum* over the batch of the per-example gradients of layer d (for a mean over a fixed, public batch
size b, divide s_d by b).  One example moves that sum by at most Δ_d in layer d; after dividing
layer d by s_d the noise is standard and the move at most √Σ(Δ_d/s_d)², so the whole is one
Gaussian mechanism with multiplier

    σ_eff = (Σ_d Δ_d²/s_d²)^(−1/2) = (Σ_d σ_d^(−2))^(−1/2),   σ_d = s_d/Δ_d,

and it is this joint mechanism that is subsampled: layers compose first, then the sampling acts.
Replace-one doubles every Δ_d (the accountants see to it) and keeps s_d.

A layer with Δ_d = 0 has a zero gradient on every example: its sum is zero whatever the data, tells
nothing and gets no noise.  Results are rounded outward: s_d up, σ_eff down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lipcert.errors import InputError
from lipcert.registry import Registry
from lipcert.rounding import div_down, div_up, hypot_up, mul_up, sqrt_up, up


@dataclass(frozen=True)
class NoiseGroup:
    """A group of parameters that get the same noise.

    Parameters
    ----------
    name : of the layer.
    delta : Δ, bounds the norm of one example's loss gradient with respect to all of the group.
    parameters : how many numbers p the group has.  Tied parameters belong to one group only.
    """

    name: str
    delta: float
    parameters: int


Allocation = Callable[[Sequence[NoiseGroup], float], tuple[float, ...]]

ALLOCATIONS: Registry[Allocation] = Registry("allocation")
"""From the layers with Δ > 0 and σ to the standard deviation s_d of each."""


def standard_deviations(
    layers: Sequence[NoiseGroup], allocation: str, noise_multiplier: float
) -> tuple[float, ...]:
    """s_d for every layer, 0 where Δ_d = 0.  Raises InputError where one would not be finite."""
    chosen = ALLOCATIONS[allocation]
    noisy = [layer for layer in check(layers) if layer.delta > 0.0]
    names = [layer.name for layer in noisy]
    shared = dict(zip(names, chosen(noisy, noise_multiplier), strict=True))
    for name, deviation in shared.items():
        if not math.isfinite(deviation):
            raise InputError(f"layer {name!r}", "its noise overflows", "rescale the loss")
    return tuple(shared.get(layer.name, 0.0) for layer in layers)


def check(layers: Sequence[NoiseGroup]) -> Sequence[NoiseGroup]:
    """The same layers.  Raises InputError for what no noise can hide, or none would be for."""
    names = [layer.name for layer in layers]
    for layer in layers:
        place = f"layer {layer.name!r}"
        if names.count(layer.name) > 1:
            raise InputError(place, "is named twice", "merge what is shared: its Δ add")
        if not (math.isfinite(layer.delta) and layer.delta >= 0.0):
            raise InputError(
                place,
                f"a sensitivity of {layer.delta!r} cannot be hidden by noise",
                "bound the inputs and every layer after them",
            )
        if layer.parameters < 1:
            raise InputError(place, f"{layer.parameters} parameters", "leave it out")
    if not any(layer.delta > 0.0 for layer in layers):
        raise InputError(
            "sensitivities",
            "none is above zero: there is nothing to make private",
            "check the loss and the parameters that are trained",
        )
    return layers


def effective_below(layers: Sequence[NoiseGroup], deviations: Sequence[float]) -> float:
    """Lower bound of σ_eff = (Σ Δ_d²/s_d²)^(−1/2) for any s_d, one for each layer.

    Raises InputError where a layer with Δ > 0 would get no noise.
    """
    ratios = []
    for layer, deviation in zip(check(layers), deviations, strict=True):
        if layer.delta > 0.0 and not deviation > 0.0:
            raise InputError(
                f"layer {layer.name!r}", "would get no noise", "give a standard deviation above 0"
            )
        ratios.append(div_up(layer.delta, deviation) if layer.delta > 0.0 else 0.0)
    return div_down(1.0, hypot_up(*ratios))


@ALLOCATIONS.register("global")
def global_noise(layers: Sequence[NoiseGroup], sigma: float) -> tuple[float, ...]:
    """One standard deviation s = σ·√ΣΔ_d² for all; Σ Δ_d²/s² = 1/σ², so σ_eff = σ."""
    deviation = mul_up(sigma, hypot_up(*(layer.delta for layer in layers)))
    return (deviation,) * len(layers)


@ALLOCATIONS.register("per-layer")
def per_layer_noise(layers: Sequence[NoiseGroup], sigma: float) -> tuple[float, ...]:
    """Each layer has its own mechanism: s_d = σ·Δ_d; Σ Δ_d²/s_d² = D/σ², so σ_eff = σ/√D."""
    return tuple(mul_up(sigma, layer.delta) for layer in layers)


@ALLOCATIONS.register("optimal")
def optimal_noise(layers: Sequence[NoiseGroup], sigma: float) -> tuple[float, ...]:
    """Least noise energy Σ p_d·s_d² for σ_eff = σ: s_d² = σ²·(Δ_d/√p_d)·Σ_k Δ_k√p_k.

    Guarantee: with S = ΣΔ_k√p_k, ΣΔ_d²/s_d² = Σ Δ_d√p_d/(σ²S) = 1/σ².
    Optimum: Cauchy–Schwarz, (Σ p_d s_d²)(Σ Δ_d²/s_d²) ≥ S² for any s; here Σ p_d s_d² = σ²S².
    """
    roots = [sqrt_up(float(layer.parameters)) for layer in layers]
    largest = max(layer.delta for layer in layers)
    total = 0.0
    for layer, root in zip(layers, roots, strict=True):
        total = up(total + mul_up(div_up(layer.delta, largest), root))
    return tuple(
        mul_up(
            sigma,
            largest,
            sqrt_up(div_up(mul_up(div_up(layer.delta, largest), total), _below(root))),
        )
        for layer, root in zip(layers, roots, strict=True)
    )


def _below(root: float) -> float:
    """A lower bound of the square root whose upper bound is given."""
    return math.nextafter(math.nextafter(root, 0.0), 0.0)
