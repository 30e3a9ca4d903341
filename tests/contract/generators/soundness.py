"""Holding every bound of a model against slopes that the model really has.

Zero tolerance on the unsound side: where a Jacobian can be computed without rounding the
comparison is made in rational arithmetic, elsewhere the reference's own rounding error is taken
off the reference, never added to the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lipcert.bounds import BoundContext
from lipcert.bounds.result import Constants
from lipcert.graph import Affine, Graph, Total
from lipcert.nonlinear import Nonlinearity
from lipcert.operators import (
    Adjoint,
    Convolution,
    Dense,
    Diagonal,
    Indexing,
    LinearOperator,
    Norms,
)
from lipcert.rounding import gamma
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NORMS, NormSettings

from .exact import dominates, dominates_dual, grid
from .methods import applied

POINTS = 5
PAIRS = 16
ORDERS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


@dataclass(frozen=True)
class Slope:
    """A Jacobian ``(outputs, inputs)`` of a model at some point.

    ``error`` bounds how far its norms may be off, per norm; None when it is exact.
    """

    matrix: np.ndarray
    error: Norms | None


@dataclass
class Verdict:
    """What the comparisons of one model found.

    Parameters
    ----------
    comparisons : slopes held against a bound.
    values : bounds by (method, norm).
    ratios : bound over steepest slope found, by (method, norm).
    violations : sentences, one for each bound below a slope.
    unbounded : bounds that are infinite.
    """

    comparisons: int = 0
    exact_comparisons: int = 0
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    ratios: dict[tuple[str, str], float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    unbounded: int = 0


def judge(graph: Graph, seed: int, *, settings: NormSettings | None = None) -> Verdict:
    """Hold every method in every norm, pairwise constants included, against sampled slopes."""
    settings = settings or NormSettings(spectral=("svd", "gram", "auto")[seed % 3])
    form = fold(graph)
    rng = np.random.default_rng(seed + 1)
    slopes = list(sampled_slopes(graph, rng))
    pairs = sampled_pairs(graph, rng)
    verdict = Verdict()
    for norm in NORMS:
        for method, found in applied(form, BoundContext(norm, settings)).items():
            _hold(verdict, method, norm, found, slopes, pairs)
    return verdict


def _hold(
    verdict: Verdict,
    method: str,
    norm: str,
    found: Constants,
    slopes: list[Slope],
    pairs: list[tuple[np.ndarray, np.ndarray, float]],
) -> None:
    label = f"{method} {norm}"
    verdict.values[method, norm] = found.value
    if math.isinf(found.value):
        verdict.unbounded += 1
    steepest = 0.0
    table = found.pairwise()
    for slope in slopes:
        verdict.comparisons += 1
        verdict.exact_comparisons += slope.error is None
        if not is_above(found.value, slope, norm):
            verdict.violations.append(f"{label}: {found.value!r} is below the norm of a Jacobian")
        steepest = max(steepest, float(np.linalg.norm(slope.matrix, ORDERS[norm])))
        for i, j, row in differences(slope.matrix):
            verdict.comparisons += 1
            if not is_above_dual(float(table[i, j]), row, slope.error, norm):
                verdict.violations.append(f"{label}: L[{i},{j}] = {table[i, j]!r} is below a slope")
    for moved, risen, error in pairs:
        verdict.comparisons += 1
        distance = float(np.linalg.norm(moved, ORDERS[norm]))
        rise = float(np.linalg.norm(risen, ORDERS[norm])) - error
        if not found.value * distance * (1.0 + 1e-15) >= rise * (1.0 - 1e-14):
            verdict.violations.append(f"{label}: {found.value!r} is below the quotient of a pair")
        steepest = max(steepest, rise / distance)
    if math.isfinite(found.value) and steepest > 0.0:
        verdict.ratios[method, norm] = found.value / steepest


def differences(matrix: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Rows of differences of two outputs; dyadic ones are subtracted without rounding."""
    for i in range(len(matrix)):
        for j in range(i):
            yield i, j, matrix[i] - matrix[j]


def is_above(bound: float, slope: Slope, norm: str) -> bool:
    """Whether a bound is at or above a Jacobian's norm, less the error of that norm."""
    if slope.error is None:
        return dominates(bound, slope.matrix, norm)
    value = float(np.linalg.norm(slope.matrix, ORDERS[norm]))
    return bound >= value * (1.0 - 1e-13) - getattr(slope.error, norm)


def is_above_dual(bound: float, row: np.ndarray, error: Norms | None, norm: str) -> bool:
    """The same for the constant of one functional."""
    if error is None:
        return dominates_dual(bound, row, norm)
    order = {"l1": math.inf, "l2": 2.0, "linf": 1.0}[norm]
    value = float(np.linalg.norm(row, order))
    return bound >= value * (1.0 - 1e-13) - 2.0 * getattr(error, norm)


# --- slopes ------------------------------------------------------------------------------------


def sampled_slopes(graph: Graph, rng: np.random.Generator) -> Iterator[Slope]:
    """Jacobians at random points near and far from zero."""
    for scale in np.geomspace(0.1, 8.0, POINTS):
        x = torch.from_numpy(scale * rng.standard_normal((1, *graph.sample_shape)))
        slope = jacobian(graph, x)
        if np.isfinite(slope.matrix).all():
            yield slope


def sampled_pairs(
    graph: Graph, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Input differences, output differences, and the rounding error of the latter's norm."""
    shape = graph.sample_shape
    x = rng.standard_normal((PAIRS, *shape)) * np.geomspace(0.05, 20.0, PAIRS).reshape(
        -1, *(1,) * len(shape)
    )
    y = x + rng.standard_normal(x.shape) * np.geomspace(3.0, 0.01, PAIRS).reshape(
        -1, *(1,) * len(shape)
    )
    a, b = (graph.evaluate(torch.from_numpy(v)).numpy() for v in (x, y))
    size = _evaluation_sizes(graph, x, y)
    found = []
    for k in range(PAIRS):
        if np.isfinite(a[k]).all() and np.isfinite(b[k]).all():
            found.append(((y[k] - x[k]).reshape(-1), b[k] - a[k], 1e-11 * size))
    return found


def _evaluation_sizes(graph: Graph, x: np.ndarray, y: np.ndarray) -> float:
    """A magnitude that rounding errors of the outputs are relative to: of all values met."""
    values = {graph.input: torch.from_numpy(np.concatenate((x, y)))}
    values[graph.input] = values[graph.input].reshape(-1, *graph.input_shape)
    largest = {graph.input: float(values[graph.input].abs().max())}
    for node in graph.nodes:
        values[node.output] = node.operation.evaluate(*(values[name] for name in node.inputs))
        here = float(values[node.output].abs().max())
        gain, before = 1.0, max(largest[name] for name in node.inputs)
        if isinstance(node.operation, Affine):
            gain = max(1.0, node.operation.operator.absolute_norms.linf)
        elif isinstance(node.operation, Nonlinearity):
            shapes = [graph.shape_of(name) for name in node.inputs]
            gain = max(1.0, node.operation.lipschitz(*shapes).l2)
        largest[node.output] = max(here, gain * before) if math.isfinite(gain) else here
    return len(graph.nodes) * largest[graph.output] * math.sqrt(graph.outputs)


def jacobian(graph: Graph, x: Tensor) -> Slope:
    """The Jacobian at ``(1, *sample_shape)``: tangents of all inputs pushed through node by node.

    Exact when every product and sum on the way is: coefficients and tangents on dyadic grids,
    magnitudes below 2^53 of their unit.
    """
    size = math.prod(graph.input_shape)
    values = {graph.input: x.reshape(1, *graph.input_shape)}
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *graph.input_shape)
    tangents = {graph.input: basis}
    exact = True
    for node in graph.nodes:
        inputs = tuple(values[name] for name in node.inputs)
        directions = tuple(tangents[name] for name in node.inputs)
        values[node.output] = node.operation.evaluate(*inputs)
        tangents[node.output] = _pushed(node.operation, inputs, directions)
        exact = exact and _is_exact(node.operation, directions)
    rows = tangents[graph.output].reshape(size, -1).T.numpy()
    return Slope(rows, None if exact else _jacobian_error(graph))


def _pushed(
    operation: Affine | Total | Nonlinearity,
    values: tuple[Tensor, ...],
    directions: tuple[Tensor, ...],
) -> Tensor:
    if isinstance(operation, Affine):
        return operation.operator.apply(directions[0])
    if isinstance(operation, Total):
        return operation.evaluate(*directions)
    count = directions[0].shape[0]
    repeated = tuple(v.expand(count, *v.shape[1:]).clone() for v in values)
    return torch.func.jvp(operation.evaluate, repeated, directions)[1]


def _is_exact(operation: Affine | Total | Nonlinearity, directions: tuple[Tensor, ...]) -> bool:
    """Whether pushing these tangents through rounds nothing."""
    units = [grid(d.numpy()) for d in directions]
    if None in units:
        return False
    unit = max(u for u in units if u is not None)
    largest = max((float(d.abs().max()) for d in directions if d.numel()), default=0.0)
    if isinstance(operation, Total):
        return len(directions) * largest * 2.0**unit <= 2.0**53
    if isinstance(operation, Affine):
        own = coefficient_grid(operation.operator)
        sums = operation.operator.absolute_norms.linf
        return own is not None and sums * largest * 2.0 ** (unit + own) <= 2.0**52
    slopes = operation.slopes
    if slopes is None:  # a selection, or something that is not piecewise linear
        return operation.ulps == 0 and largest * 2.0**unit <= 2.0**53
    ends = [
        torch.as_tensor(end, dtype=torch.float64).numpy() for end in (slopes.alpha, slopes.beta)
    ]
    own = [grid(end, 12) for end in ends]
    return (
        None not in own
        and getattr(operation, "name", "") in BENT
        and (largest * 8.0 * 2.0 ** (unit + 12) <= 2.0**52)
    )


BENT = frozenset({"Relu", "LeakyRelu", "PRelu", "Abs", "Clip", "Shrink", "HardSigmoid"})
"""Activations whose derivative takes the ends of its slope interval and nothing between."""


def coefficient_grid(operator: LinearOperator) -> int | None:
    """The grid of a leaf operator's coefficients; None where they are not known to be exact."""
    if max(operator.error.l1, operator.error.l2, operator.error.linf) > 0.0:
        return None
    if isinstance(operator, Adjoint):
        return coefficient_grid(operator.operator)
    if isinstance(operator, Indexing):
        return 0
    if isinstance(operator, Dense | Convolution):
        return grid(operator.weight.numpy(), 30)
    return grid(operator.scale.numpy(), 30) if isinstance(operator, Diagonal) else None


def _jacobian_error(graph: Graph) -> Norms:
    """``γ_N · M`` with M the product of absolute norms along all paths, N all roundings on them."""
    sizes = {graph.input: Norms(1.0, 1.0, 1.0)}
    roundings = 16
    for node in graph.nodes:
        before = sizes[node.inputs[0]]
        for name in node.inputs[1:]:
            before = before + sizes[name]
        operation = node.operation
        roundings += 16 + len(node.inputs)
        if isinstance(operation, Affine):
            operator = operation.operator
            before = before * (operator.absolute_norms + operator.error)
            roundings += operator.terms
        elif isinstance(operation, Nonlinearity):
            before = before * operation.lipschitz(*(graph.shape_of(name) for name in node.inputs))
            roundings += 64 + max(math.prod(graph.shape_of(name)) for name in node.inputs)
        sizes[node.output] = before
    return sizes[graph.output].scaled(gamma(roundings))


def kinds_of(graph: Graph, form: SignalForm) -> Iterator[str]:
    """Names of everything that a model is made of, for the counts of a report."""
    for node in graph.nodes:
        if isinstance(node.operation, Affine):
            yield type(node.operation.operator).__name__
        elif isinstance(node.operation, Nonlinearity):
            yield getattr(node.operation, "name", type(node.operation).__name__)
        else:
            yield "Total"
    for terms in (*(stage.terms for stage in form.stages), form.output_terms):
        for operator in terms.values():
            yield f"folded {type(operator).__name__}"
