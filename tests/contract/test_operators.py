"""What every linear operator must do: be linear, have its adjoint, and norms that are bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.exact import dominates
from generators.operators import (
    MAKERS,
    any_leaf,
    convolution,
    definition,
    kinds,
    matrix_of,
    weights,
)

from lipcert.operators import (
    Adjoint,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    LinearOperator,
    Norms,
    Sum,
    simplify,
    transpose,
)
from lipcert.spectral import NORMS, NormSettings, explicit_bound, torus_bound
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS

SEEDS = range(40)
KINDS = [pytest.param(kind, id=kind.__name__) for kind in kinds()]
ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}


def made(kind: type[LinearOperator], seed: int) -> LinearOperator:
    return MAKERS[kind](np.random.default_rng([seed, sum(map(ord, kind.__name__))]))


def is_bound(value: float, matrix: np.ndarray, norm: str) -> bool:
    """Exactly where that is quick, otherwise against an SVD with its own error taken off."""
    if norm != "l2" or min(matrix.shape) <= 6:
        return dominates(value, matrix, norm)
    largest = float(np.linalg.svd(matrix, compute_uv=False)[0])
    return value >= largest * (1.0 - max(matrix.shape) * 2.0**-52)


def test_every_kind_has_a_generator() -> None:
    assert set(MAKERS) == set(kinds()), "write a generator for the new kind of operator"


@pytest.mark.parametrize("kind", KINDS)
def test_apply_is_the_matrix_of_the_definition(kind: type[LinearOperator]) -> None:
    for seed in SEEDS:
        operator = made(kind, seed)
        matrix = definition(operator)
        assert matrix.shape == (operator.out_size, operator.in_size)
        np.testing.assert_array_equal(matrix_of(operator), matrix, err_msg=f"{operator!r} {seed}")


@pytest.mark.parametrize("kind", KINDS)
def test_adjoint_is_the_transpose(kind: type[LinearOperator]) -> None:
    """``⟨Ax, y⟩ = ⟨x, Aᵀy⟩`` for batches of small integers, without rounding."""
    for seed in SEEDS:
        operator = made(kind, seed)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randint(-4, 5, (3, *operator.in_shape), generator=generator).double()
        y = torch.randint(-4, 5, (3, *operator.out_shape), generator=generator).double()
        image, pulled = operator.apply(x), operator.adjoint(y)
        assert image.shape == y.shape and pulled.shape == x.shape
        left, right = (image * y).flatten(1).sum(1), (x * pulled).flatten(1).sum(1)
        assert torch.equal(left, right), (operator, seed)
        np.testing.assert_array_equal(matrix_of(transpose(operator)), definition(operator).T)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_the_operator_and_its_adjoint(kind: type[LinearOperator]) -> None:
    """Whatever way ``apply`` takes, autograd's gradient is Aᵀy and its tangent At."""
    for seed in SEEDS:
        operator = made(kind, seed)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randint(-4, 5, (3, *operator.in_shape), generator=generator).double()
        y = torch.randint(-4, 5, (3, *operator.out_shape), generator=generator).double()
        image, pull = torch.func.vjp(operator.apply, x)
        assert torch.equal(image, operator.apply(x))
        assert torch.equal(pull(y)[0], operator.adjoint(y)), (operator, seed)
        _, along = torch.func.jvp(operator.apply, (x,), (2.0 * x,))
        assert torch.equal(along, operator.apply(2.0 * x)), (operator, seed)
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((operator.apply(leaf) * y).sum(), leaf)
        assert torch.equal(gradient, operator.adjoint(y)), (operator, seed)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_norm_is_never_below_the_matrix(kind: type[LinearOperator], norm: str) -> None:
    for seed in SEEDS:
        operator = made(kind, seed)
        matrix = definition(operator)
        spectral = sorted(EIGENVALUE_BOUNDS)[seed % len(EIGENVALUE_BOUNDS)]
        for limit in (2e11, 0.0):  # with the explicit operator, and without
            settings = NormSettings(spectral=spectral, max_work=limit)
            found = NORMS[norm](operator, settings)
            assert is_bound(found.value, matrix, norm), (operator, seed, found)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_norm_is_tight_where_the_operator_is_explicit(
    kind: type[LinearOperator], norm: str
) -> None:
    for seed in SEEDS:
        operator = made(kind, seed)
        truth = float(np.linalg.norm(definition(operator), ORDERS[norm]))
        found = NORMS[norm](operator, NormSettings()).value
        # a norm that cancels to (nearly) zero is found up to the root of the rounding error
        floor = 3e-7 * operator.absolute_norms.l2 + 1e-70
        assert found <= max(truth * (1.0 + 1e-9), floor), (operator, seed, found, truth)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_norm_is_never_below_sampled_ratios(kind: type[LinearOperator], norm: str) -> None:
    """On vectors of small integers, whose images are exact."""
    order = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[norm]
    for seed in SEEDS:
        operator = made(kind, seed)
        found = NORMS[norm](operator, NormSettings(max_work=0.0)).value
        generator = torch.Generator().manual_seed(seed)
        x = torch.randint(-3, 4, (20, *operator.in_shape), generator=generator).double()
        image = torch.linalg.vector_norm(operator.apply(x).flatten(1), order, dim=1)
        size = torch.linalg.vector_norm(x.flatten(1), order, dim=1)
        rounding = operator.in_size + operator.out_size  # of the reference's own two norms
        assert bool((found * size >= image * (1.0 - rounding * 2.0**-53)).all()), (operator, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_absolute_norms_bound_the_absolute_matrix(kind: type[LinearOperator]) -> None:
    for seed in SEEDS:
        operator = made(kind, seed)
        magnitude = np.abs(definition(operator))
        norms = operator.absolute_norms
        for norm in ("l1", "l2", "linf"):
            assert is_bound(getattr(norms, norm), magnitude, norm), (operator, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_simplify_is_the_same_map_in_no_larger_norm(kind: type[LinearOperator]) -> None:
    for seed in range(80):
        operator = made(kind, seed)
        simple = simplify(operator)
        assert (simple.in_shape, simple.out_shape) == (operator.in_shape, operator.out_shape)
        np.testing.assert_array_equal(
            matrix_of(simple), definition(operator), err_msg=f"{operator!r} {seed} {simple!r}"
        )
        assert is_bound(
            (simple.absolute_norms + simple.evaluation_error).linf, definition(operator), "linf"
        )


@pytest.mark.parametrize("norm", NORMS)
def test_scaling_by_a_power_of_two_scales_the_norm(norm: str) -> None:
    for seed in SEEDS:
        operator = convolution(np.random.default_rng(seed))
        one = NORMS[norm](operator, NormSettings()).value
        for power in (-300, -40, -1, 1, 7, 300):
            scaled = operator.with_weight(operator.weight * 2.0**power, operator.error)
            many = NORMS[norm](scaled, NormSettings()).value
            assert math.isclose(many, one * 2.0**power, rel_tol=1e-13), (seed, power)


@pytest.mark.parametrize("norm", NORMS)
def test_grouped_convolution_is_the_block_diagonal(norm: str) -> None:
    """The norm of a grouped convolution is the largest of its groups', not their product."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        grouped = convolution(rng, lead=1)
        blocks = []
        out = grouped.weight.shape[0] // grouped.groups
        for group in range(grouped.groups):
            blocks.append(
                Convolution(
                    grouped.weight[group * out : (group + 1) * out],
                    grouped.spatial,
                    stride=grouped.stride,
                    dilation=grouped.dilation,
                    pads_begin=grouped.pads_begin,
                    pads_end=grouped.pads_end,
                )
            )
        parts = [definition(block) for block in blocks]
        whole = definition(grouped)
        offset = 0
        for part in parts:
            rows = slice(offset * part.shape[0], (offset + 1) * part.shape[0])
            columns = slice(offset * part.shape[1], (offset + 1) * part.shape[1])
            np.testing.assert_array_equal(whole[rows, columns], part)
            offset += 1
        assert np.count_nonzero(whole) == sum(np.count_nonzero(part) for part in parts)
        found = NORMS[norm](grouped, NormSettings()).value
        largest = max(NORMS[norm](block, NormSettings()).value for block in blocks)
        assert math.isclose(found, largest, rel_tol=1e-9, abs_tol=1e-70)


def test_torus_is_never_below_the_explicit_norm() -> None:
    for seed in range(150):
        operator = convolution(np.random.default_rng(seed), lead=1)
        matrix = definition(operator)
        for spectral in EIGENVALUE_BOUNDS:
            found = torus_bound(operator, NormSettings(spectral=spectral)).value
            assert is_bound(found, matrix, "l2"), (operator, seed, spectral)


def test_spectral_methods_agree() -> None:
    for seed in range(60):
        operator = any_leaf(np.random.default_rng(seed))
        found = [
            explicit_bound(operator, NormSettings(spectral=name)).value
            for name in EIGENVALUE_BOUNDS
        ]
        assert max(found) <= min(found) * (1.0 + 1e-9) + 1e-70


def one_number(kind: str) -> LinearOperator:
    """``x ↦ 2x`` on one number, known to within 1/2: the true factor may be 5/2."""
    half, shape = Norms(0.5, 0.5, 0.5), (1, 1, 1)
    if kind == "dense":
        return Dense(torch.full((1, 1), 2.0, dtype=torch.float64), (1, 1), half)
    if kind == "diagonal":
        return Diagonal(torch.full((1,), 2.0, dtype=torch.float64), shape, half)
    return Convolution(
        torch.full((1, 1, 1), 2.0, dtype=torch.float64),
        (1,),
        stride=(1,),
        dilation=(1,),
        pads_begin=(0,),
        pads_end=(0,),
        error=half,
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("first", ["dense", "diagonal", "convolution"])
@pytest.mark.parametrize("second", ["dense", "diagonal", "convolution"])
def test_error_of_coefficients_enters_every_norm(norm: str, first: str, second: str) -> None:
    a, b = one_number(first), one_number(second)
    cases = [
        (a, 2.5),
        (Adjoint(a), 2.5),
        (transpose(a), 2.5),
        (Sum((a, b)), 5.0),
        (Composed((a, b)), 6.25),
        (simplify(Composed((a, b))), 6.25),
        (Composed((Adjoint(a), b)), 6.25),
        (simplify(Composed((a, b, a))), 15.625),
        (transpose(Composed((a, Sum((a, b))))), 12.5),
        (Adjoint(Composed((a, b))), 6.25),
    ]
    for operator, truth in cases:
        for limit in (2e11, 0.0):
            settings = NormSettings(max_work=limit)
            assert NORMS[norm](operator, settings).value >= truth, (operator, limit)
        assert getattr(operator.absolute_norms + operator.evaluation_error, norm) >= truth


def test_random_weights_agree_with_the_singular_values() -> None:
    """Random reals: never below the SVD less its own error, and tight."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        shaped = convolution(rng, lead=1)
        operator = shaped.with_weight(
            torch.from_numpy(rng.standard_normal(tuple(shaped.weight.shape))), shaped.error
        )
        largest = float(np.linalg.svd(definition(operator), compute_uv=False)[0])
        own_error = max(operator.in_size, operator.out_size) * 2.0**-52
        found = NORMS["l2"](operator, NormSettings()).value
        assert largest * (1.0 - own_error) <= found <= largest * (1.0 + 1e-9) + 1e-70


def test_weights_helper_is_dyadic() -> None:
    drawn = weights(np.random.default_rng(0), 100) * 8.0
    assert torch.equal(drawn, drawn.round())
