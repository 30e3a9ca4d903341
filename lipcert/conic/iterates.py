"""Primal-dual iterates, where they begin, and how they change with the scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.problem import ScaledProblem


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
    """The scaled multipliers, and multiples of the identity with the trace that y_0 asks for."""
    problem = scaled.problem
    first = problem.blocks[0]
    own = first.head_weight[first.head_index == 0]
    size = 1.0 / float(own.sum())
    y = problem.start.clone()
    X = [size * torch.eye(block.side, dtype=y.dtype, device=y.device) for block in problem.blocks]
    x = torch.full_like(y[1:], size) if problem.signed else y[:0]
    return Iterate(y, X, x)


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
