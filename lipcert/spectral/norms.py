"""Proven norms of linear operators: ``NORMS["l2"](operator, settings)``."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from lipcert.operators import (
    Adjoint,
    Centring,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Indexing,
    LinearOperator,
    Norms,
    Sum,
    simplify,
)
from lipcert.registry import Registry
from lipcert.rounding import add_up, hypot_up, mul_up, sqrt_up
from lipcert.spectral.circular import circular_period
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.spectral.explicit import (
    explicit_absolute_sums,
    explicit_gram,
    explicit_work,
    smaller_side,
)
from lipcert.spectral.gram import gram_blocks
from lipcert.spectral.settings import NormBound, NormSettings
from lipcert.spectral.tensors import frobenius_up, power_of_two_scale
from lipcert.spectral.torus import FrequencyBlocks, frequency_blocks, torus_size

Norm = Callable[[LinearOperator, NormSettings], NormBound]
NORMS: Registry[Norm] = Registry("norm")


@NORMS.register("l2")
def spectral_norm_bound(operator: LinearOperator, settings: NormSettings) -> NormBound:
    """Bound of the spectral norm: exact rules for leaves, explicit where affordable."""
    return _nan_safe(_spectral(simplify(operator), settings))


@NORMS.register("l1")
def column_sum_bound(operator: LinearOperator, settings: NormSettings) -> NormBound:
    """Bound of the l1 norm: the largest absolute column sum."""
    return _nan_safe(_absolute(simplify(operator), settings, lambda norms: norms.l1))


@NORMS.register("linf")
def row_sum_bound(operator: LinearOperator, settings: NormSettings) -> NormBound:
    """Bound of the linf norm: the largest absolute row sum."""
    return _nan_safe(_absolute(simplify(operator), settings, lambda norms: norms.linf))


def _nan_safe(bound: NormBound) -> NormBound:
    return NormBound(math.inf, bound.how) if math.isnan(bound.value) else bound


def _smallest(*bounds: NormBound) -> NormBound:
    return min((_nan_safe(bound) for bound in bounds), key=lambda bound: bound.value)


# --- l1 and linf -------------------------------------------------------------------------------


def _absolute(
    operator: LinearOperator, settings: NormSettings, pick: Callable[[Norms], float]
) -> NormBound:
    if not isinstance(operator, Composed | Sum):
        total = operator.absolute_norms + operator.error
        return NormBound(pick(total), "absolute sums")
    product = operator.absolute_norms + operator.evaluation_error
    bound = NormBound(pick(product), "product of absolute sums")
    if not settings.affords(operator):
        return bound
    moved = operator.to(settings.device)
    l1, linf = explicit_absolute_sums(moved, settings.device)
    return _smallest(bound, NormBound(pick(Norms(l1, math.inf, linf)), "explicit absolute sums"))


# --- l2 ----------------------------------------------------------------------------------------


def _spectral(operator: LinearOperator, settings: NormSettings) -> NormBound:
    for kind, rule in SPECTRAL_RULES.items():
        if isinstance(operator, kind):
            return rule(operator, settings)
    raise NotImplementedError(f"no spectral norm rule for {operator!r}")


def _of_indexing(operator: Indexing, settings: NormSettings) -> NormBound:
    return NormBound(operator.absolute_norms.l2, "exact")


def _of_diagonal(operator: Diagonal, settings: NormSettings) -> NormBound:
    largest = float(operator.scale.abs().max()) if operator.scale.numel() else 0.0
    return NormBound(add_up(largest, operator.error.l2), "exact")


def _of_centring(operator: Centring, settings: NormSettings) -> NormBound:
    return NormBound(1.0 if operator.group > 1 else 0.0, "exact")


def _of_adjoint(operator: Adjoint, settings: NormSettings) -> NormBound:
    return _spectral(operator.operator, settings)


def _of_dense(operator: Dense, settings: NormSettings) -> NormBound:
    weight = operator.weight.to(settings.device)[None]
    if min(weight.shape[1:]) == 1:
        scale = power_of_two_scale(weight)
        vector = mul_up(float(frobenius_up(weight / scale)), scale)
        return NormBound(add_up(vector, operator.error.l2), "exact")
    return _of_blocks(FrequencyBlocks(weight, operator.error.l2), settings, "dense")


def _of_blocks(family: FrequencyBlocks, settings: NormSettings, how: str) -> NormBound:
    """Largest spectral norm over blocks, scaled by a power of two against over- and underflow."""
    if not bool(family.blocks.any()):
        return NormBound(family.error, how)
    scale = power_of_two_scale(family.blocks)
    gram, errors = gram_blocks(family.blocks / scale)
    eigenvalue = EIGENVALUE_BOUNDS[settings.spectral](gram, settings.starts)
    value = mul_up(sqrt_up(add_up(eigenvalue, float(errors.max()))), scale)
    return NormBound(add_up(value, family.error), how)


def _of_convolution(operator: Convolution, settings: NormSettings) -> NormBound:
    """Explicit where its smaller side makes that affordable, on the torus otherwise."""
    if not bool(operator.weight.any()):
        return NormBound(operator.error.l2, "zero")
    single = one_group(operator)
    if settings.affords(single) and operator.groups == 1:
        return _explicit_convolution(single, settings)
    torus = torus_bound(operator, settings)
    work = explicit_work(single) * operator.groups
    if operator.groups > 1 and settings.affords(single) and work <= settings.max_work:
        parts = [one_group(operator, group) for group in range(operator.groups)]
        found = (_explicit_convolution(part, settings) for part in parts)
        explicit = max(found, key=lambda bound: bound.value)
        return _smallest(torus, explicit)
    return torus


def _explicit_convolution(operator: Convolution, settings: NormSettings) -> NormBound:
    """The explicit norm, its weights scaled by a power of two against over- and underflow."""
    scale = power_of_two_scale(operator.weight)
    bound = _explicit(operator.with_weight(operator.weight / scale, Norms(0.0, 0.0, 0.0)), settings)
    return NormBound(add_up(mul_up(bound.value, scale), operator.error.l2), bound.how)


def one_group(operator: Convolution, group: int = 0) -> Convolution:
    """One diagonal block of a convolution: a single group at a single leading position."""
    out = operator.weight.shape[0] // operator.groups
    weight = operator.weight[group * out : (group + 1) * out]
    return operator.with_weight(weight, operator.error, groups=1, lead=1)


def torus_bound(operator: Convolution, settings: NormSettings) -> NormBound:
    """The circular norm on the smallest torus: a bound for any stride, padding and group."""
    if operator.out_size == 0 or operator.in_size == 0:
        return NormBound(0.0, "empty")
    scale = power_of_two_scale(operator.weight)
    scaled = operator.with_weight(operator.weight / scale, operator.error).to(settings.device)
    bound = _of_blocks(frequency_blocks(scaled, torus_size(operator)), settings, "torus")
    return _nan_safe(NormBound(add_up(mul_up(bound.value, scale), operator.error.l2), "torus"))


def _circular_bound(
    operator: Convolution, extension: Indexing, settings: NormSettings
) -> NormBound | None:
    """A convolution behind circular padding: the norm on the torus of the image itself."""
    period = circular_period(operator, extension)
    if period is None:
        return None
    scale = power_of_two_scale(operator.weight)
    scaled = operator.with_weight(operator.weight / scale, operator.error).to(settings.device)
    bound = _of_blocks(frequency_blocks(scaled, period.torus), settings, "circular torus")
    value = mul_up(bound.value, scale, period.repeats)
    return NormBound(
        add_up(value, mul_up(operator.error.l2, extension.absolute_norms.l2)), "circular torus"
    )


def explicit_bound(operator: LinearOperator, settings: NormSettings) -> NormBound:
    """Norm of the explicit operator from its Gram matrix on the smaller side."""
    return _explicit(simplify(operator), settings)


def _explicit(operator: LinearOperator, settings: NormSettings) -> NormBound:
    if smaller_side(operator) == 0:
        return NormBound(0.0, "empty")
    gram, error = explicit_gram(operator.to(settings.device), settings.device)
    if not math.isfinite(error):
        return NormBound(math.inf, "explicit")
    scale = power_of_two_scale(gram)
    found = EIGENVALUE_BOUNDS[settings.spectral](gram / scale, settings.starts)
    eigenvalue = mul_up(found, scale)
    value = sqrt_up(add_up(max(eigenvalue, 0.0), error))
    return NormBound(value, "explicit")


def _of_composed(operator: Composed, settings: NormSettings) -> NormBound:
    product = _product(operator, settings)
    if settings.affords(operator):
        return _smallest(product, _explicit(operator, settings))
    return product


def _product(operator: Composed, settings: NormSettings) -> NormBound:
    """The product of the factors' norms, circular padding taken together with its convolution."""
    value, factors = 1.0, list(operator.factors)
    while factors:
        factor = factors.pop(0)
        if isinstance(factor, Convolution) and factors and isinstance(factors[0], Indexing):
            circular = _circular_bound(factor, factors[0], settings)
            if circular is not None:
                factors.pop(0)
                value = mul_up(value, circular.value)
                continue
        value = mul_up(value, _spectral(factor, settings).value)
    return NormBound(value, "product")


def _of_sum(operator: Sum, settings: NormSettings) -> NormBound:
    parts = [_spectral(summand, settings).value for summand in operator.summands]
    apart = _supports_are_disjoint(operator)
    total = hypot_up(*parts) if apart else add_up(*parts)
    bound = NormBound(total, "stacked" if apart else "sum")
    if settings.affords(operator):
        return _smallest(bound, _explicit(operator, settings))
    return bound


def _supports_are_disjoint(operator: Sum) -> bool:
    """Whether the summands write to disjoint outputs, or read disjoint inputs."""
    chains = [part.factors if isinstance(part, Composed) else (part,) for part in operator.summands]
    written = [chain[0].index >= 0 for chain in chains if isinstance(chain[0], Indexing)]
    read = [chain[-1].multiplicity > 0 for chain in chains if isinstance(chain[-1], Indexing)]
    return any(
        len(masks) == len(chains) and not bool((torch.stack(masks).sum(0) > 1).any())
        for masks in (written, read)
    )


SPECTRAL_RULES: dict[type, Callable[..., NormBound]] = {
    Indexing: _of_indexing,
    Diagonal: _of_diagonal,
    Centring: _of_centring,
    Adjoint: _of_adjoint,
    Dense: _of_dense,
    Convolution: _of_convolution,
    Composed: _of_composed,
    Sum: _of_sum,
}
