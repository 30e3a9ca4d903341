"""Primal-dual iterates, where they begin, and how they change with the scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.problem import Problem, ScaledProblem


@dataclass(frozen=True, eq=False)
class Iterate:
    """Multipliers and primal matrices in scaled coordinates: what a warm start needs.

    Parameters
    ----------
    y : multipliers, ``(m,)``.
    X : a positive definite matrix for each block.
    x : primal values of the signs ``y_k ≥ 0`` for k ≥ 1; empty where the matrices imply them.
    """

    y: Tensor
    X: list[Tensor]
    x: Tensor


def cold_start(scaled: ScaledProblem) -> Iterate:
    """The scaled multipliers, and diagonal matrices with about the trace that y_0 asks for.

    A multiple of the identity, raised where the constraints ask for more: one output that reads a
    hundred inputs would be far from feasible otherwise, and y would run away before it is.
    """
    problem = scaled.problem
    first = problem.blocks[0]
    own = first.head_weight[first.head_index == 0]
    size = 1.0 / float(own.sum())
    y = problem.start.clone()
    X = [torch.diag(x.clamp(min=size, max=max(size, 1.0))) for x in _variances(problem)]
    x = torch.full_like(y[1:], size) if problem.signed else y[:0]
    return Iterate(y, X, x)


def _variances(problem: Problem) -> list[Tensor]:
    """Diagonals x with ``Σ tr(M_k diag(x)) = δ_{k0}``, but for what centres correlate.

    Those of uncorrelated noise of unit size sent through the model, each remainder as large as its
    constraint allows: ``x_k = c_k² v + Σ ν v / Σ ω``, v the variances of the rows.
    """
    start = problem.start
    wanted = torch.zeros_like(start)
    wanted[0] = 1.0
    found = []
    for block in problem.blocks:
        n = block.inputs
        heads = torch.zeros_like(start).index_add_(0, block.head_index, block.head_weight)
        above = torch.zeros_like(start)
        above.index_add_(0, block.activation_index, block.activation_weight)
        x = start.new_zeros(block.side)
        x[:n] = (wanted / heads)[block.head_index]
        for _ in range(block.activations + 1):  # as often as there are stages
            rows = block.rows.variances(x)
            below = torch.zeros_like(start).index_add_(0, block.row_index, block.row_weight * rows)
            through = block.centre.square() * block.partners(rows)
            after = through + (below / above)[block.activation_index]
            if torch.equal(after, x[n:]):
                break
            x[n:] = after
        found.append(x)
        wanted = below
    return found


@dataclass(frozen=True, eq=False)
class Frame:
    """A scaled problem and the way back to the scales that the solver was given.

    Parameters
    ----------
    scaled : the problem in its present scales.
    unit : multipliers in the given scales are ``unit · y``.
    scales : factors of the coordinates of each block against the given ones.
    """

    scaled: ScaledProblem
    unit: Tensor
    scales: list[Tensor]

    @staticmethod
    def of(scaled: ScaledProblem) -> Frame:
        """The given scales themselves."""
        blocks, start = scaled.problem.blocks, scaled.problem.start
        ones = [torch.ones(block.side, dtype=start.dtype, device=start.device) for block in blocks]
        return Frame(scaled, torch.ones_like(start), ones)

    def moved_to(self, iterate: Iterate) -> tuple[Frame, Iterate]:
        """A frame in which this frame's iterate is about 1, and the iterate in it.

        With ``S' = Λ S Λ`` and y measured in units u, the primal matrices that keep the
        constraints ``Σ tr(M_k X) = δ_{k0}`` are ``Λ⁻¹ X Λ⁻¹ / u_0``.
        """
        nearer = self.scaled.problem.scaled(iterate.y)
        u = nearer.unit
        X = [
            primal / scale[:, None] / scale / u[0]
            for primal, scale in zip(iterate.X, nearer.scales, strict=True)
        ]
        x = iterate.x * u[1:] / u[0] if iterate.x.numel() else iterate.x
        scales = [old * new for old, new in zip(self.scales, nearer.scales, strict=True)]
        return Frame(nearer, self.unit * u, scales), Iterate(nearer.problem.start, X, x)

    def given(self, iterate: Iterate) -> Iterate:
        """An iterate of this frame in the given scales."""
        u = self.unit
        X = [
            primal * scale[:, None] * scale * u[0]
            for primal, scale in zip(iterate.X, self.scales, strict=True)
        ]
        x = iterate.x * u[0] / u[1:] if iterate.x.numel() else iterate.x
        return Iterate(u * iterate.y, X, x)
