"""The algebra of one iteration against matrices multiplied out, on families of every shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from families import FAMILIES, coefficients, whole
from torch import Tensor

from lipcert.conic import fourier_schur
from lipcert.conic.batched import Member, inverse_at
from lipcert.conic.blockwise import Blocks
from lipcert.conic.fourier import FourierBlock, holding

NAMES = pytest.mark.parametrize("name", FAMILIES)
SEEDS = pytest.mark.parametrize("seed", range(3))


def feasible(block: FourierBlock, count: int) -> Tensor:
    """Multipliers at which the blocks of a family are positive definite: larger towards the entry."""
    for growth in (4.0, 16.0, 64.0, 256.0):
        y = torch.ones(count, dtype=torch.float64)
        reached = 1.0
        for row in reversed(block.rows):
            if row.group is not None:
                reached *= growth
                y[row.index] = reached
        y[block.head_index] = reached * growth
        if bool(holding(block, y).all()):
            return y
    raise AssertionError("no strictly feasible multipliers")


@dataclass(frozen=True)
class Case:
    """A member away from the central path, with ``S⁻¹`` and X whole."""

    member: Member
    y: Tensor
    count: int
    Z: Tensor
    X: Tensor

    @property
    def block(self) -> FourierBlock:
        return self.member.block

    def is_close(self, blocks: Blocks, full: Tensor) -> bool:
        """Whether the lower half of a matrix is that of another, on the pattern."""
        own, size = self.block.coordinates, 1e-10 * float(full.abs().max())
        for (i, j), part in blocks.items():
            wanted = full[:, own[i], own[j]]
            if part.dim() == 2:
                wanted = wanted.diagonal(dim1=-2, dim2=-1)
            if not float((part - wanted).abs().max()) <= size:
                return False
        return True


def drawn(name: str, seed: int) -> Case:
    """X is the inverse of S at other multipliers: its own completion."""
    block, count = FAMILIES[name](seed)
    y = feasible(block, count)
    generator = torch.Generator().manual_seed(seed)
    other = y * (1.0 + 0.1 * torch.rand(count, dtype=torch.float64, generator=generator))
    other[block.head_index] *= 2.0
    Z, X = (torch.linalg.inv(whole(block, block.matrices(at))) for at in (y, other))
    member = Member.at(block, inverse_at(block, other), y)
    assert member is not None
    member.prepare()
    return Case(member, y, count, Z, X)


def trace(matrix: Tensor) -> Tensor:
    """The real part of the traces of a batch, added up."""
    return matrix.diagonal(dim1=-2, dim2=-1).real.sum()


def moved(case: Case, seed: int) -> tuple[Tensor, Tensor]:
    """A direction of the multipliers, and what it makes of S."""
    generator = torch.Generator().manual_seed(100 + seed)
    dy = case.y * torch.randn(case.count, dtype=torch.float64, generator=generator)
    M = coefficients(case.block, case.count)
    return dy, torch.stack([d * m for d, m in zip(dy, M, strict=True)]).sum(0)


@NAMES
@SEEDS
def test_the_matrices_are_those_of_the_coefficients(name: str, seed: int) -> None:
    case = drawn(name, seed)
    M = coefficients(case.block, case.count)
    direct = torch.stack([t * m for t, m in zip(case.y, M, strict=True)]).sum(0)
    for g, left in case.block.output.items():
        for h, right in case.block.output.items():
            rows, columns = case.block.coordinates[g], case.block.coordinates[h]
            direct[:, rows, columns] -= left.matrix.mH @ right.matrix
    assert case.is_close(case.block.matrices(case.y), direct)
    assert case.block.entry_is_diagonal == (name != "skips")


@NAMES
@SEEDS
def test_values_of_the_constraints(name: str, seed: int) -> None:
    case = drawn(name, seed)
    direct = torch.stack([trace(M @ case.X) for M in coefficients(case.block, case.count)])
    values = case.member.values(case.member.primal.blocks, case.count)
    assert torch.allclose(values * case.y, direct * case.y, rtol=1e-9, atol=1e-9)


@NAMES
@SEEDS
@pytest.mark.parametrize("elements", [1, 1 << 20])
def test_the_schur_complement_is_that_of_the_coefficients(
    elements: int, name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frequency by frequency, and all at once."""
    monkeypatch.setattr(fourier_schur, "CHUNK_ELEMENTS", {"cpu": elements})
    case = drawn(name, seed)
    M = coefficients(case.block, case.count)
    direct = torch.stack([torch.stack([trace(a @ case.Z @ b @ case.X) for b in M]) for a in M])
    scale = direct.diagonal().clamp(min=1e-300).rsqrt()  # some multipliers are those of others
    found = case.member.schur(case.count)
    assert torch.equal(found, found.T)
    assert float(((found - direct) * scale[:, None] * scale).abs().max()) <= 1e-10


def test_pairs_of_coordinates_of_an_entry_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums over a wide entry separate; over a narrow one they are taken as they are."""
    case = drawn("head", 0)
    apart = case.member.schur(case.count)
    Z, X = case.member.Z, case.member.primal.completion
    group_of = case.block.head_index - 1
    narrow = fourier_schur._pairs_as_they_are(Z, X, group_of, 2)
    wide = fourier_schur._pairs_apart(Z, X, group_of, 2)
    assert torch.allclose(narrow, wide, rtol=1e-12)
    monkeypatch.setattr(fourier_schur, "_pairs_apart", fourier_schur._pairs_as_they_are)
    assert torch.allclose(case.member.schur(case.count), apart, rtol=1e-12)


@NAMES
@SEEDS
def test_directions(name: str, seed: int) -> None:
    """``dX = −X − sym(X dS S⁻¹)``, then with centring and ``sym(dX dS S⁻¹)``, on the pattern."""
    case = drawn(name, seed)
    dy, dS = moved(case, seed)
    turned = case.X @ dS @ case.Z
    first = -case.X - (turned + turned.mH) / 2.0
    move = case.member.direction(dy, 0.0, None)
    assert case.is_close(move.S, dS)
    assert case.is_close(move.X, first)
    second = case.member.second_order(move)
    quadratic = first @ dS @ case.Z
    quadratic = (quadratic + quadratic.mH) / 2.0
    assert case.is_close(second, quadratic)
    full = case.member.direction(dy, 0.5, second)
    assert case.is_close(full.X, first + 0.5 * case.Z - quadratic)


@NAMES
@SEEDS
def test_inner_products(name: str, seed: int) -> None:
    case = drawn(name, seed)
    S = torch.linalg.inv(case.Z)
    found = float(case.member.complementarity(case.y))
    assert found == pytest.approx(float(trace(case.X @ S)), rel=1e-8)


@NAMES
@SEEDS
def test_how_far_a_direction_goes(name: str, seed: int) -> None:
    """S to its boundary; X to where some clique is singular: never beyond, and close to it."""
    case = drawn(name, seed)
    dy, dS = moved(case, seed)
    move = case.member.direction(dy, 0.0, None)
    root = torch.linalg.cholesky(torch.linalg.inv(case.Z))
    half = torch.linalg.solve_triangular(root, dS, upper=False)
    turned = torch.linalg.solve_triangular(root, half.mH, upper=False)
    smallest = float(torch.linalg.eigvalsh(turned)[:, 0].min())
    limit = -1.0 / smallest if smallest < 0.0 else math.inf
    assert case.member.longest_dual(move, 30) == pytest.approx(limit, rel=0.05)
    longest = case.member.longest_primal(move, 30)
    assert case.member.primal_at(move, 0.9 * longest) is not None
    if longest < 1.2:
        assert case.member.primal_at(move, 1.15 * longest) is None
