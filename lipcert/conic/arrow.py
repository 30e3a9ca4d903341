"""Blocks of all frequencies together with dense stages that read all of them, without a coupling.

With the blocks ``P_ω(y)`` of an image's part, ``R_ω`` what it ends in, and rows ``W`` that read it,
``W_ω`` in Fourier space, the matrix inequality of the whole is an arrow,

    ``[[P_1, …, (A W_1 R_1)ᴴ], …, [A W_1 R_1, …, S_0]] ≽ 0``,

positive where all ``P_ω`` and ``S = S_0 − A (Σ_ω W_ω R_ω P_ω⁻¹ R_ωᴴ W_ωᴴ) A`` are: A holds
``−c_i t_i`` for each row of a stage and 1 for each output.  Here is the barrier of it,
``−Σ log det P_ω − log det S``, with its derivatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipcert.conic.fourier import CHUNK_ELEMENTS, FourierBlock


@dataclass(frozen=True, eq=False)
class Head:
    """Dense stages behind an image, as far as they do not read it: ``S_0 = constant + Σ t_j M_j``.

    Parameters
    ----------
    constant : ``(s, s)``.
    slopes : ``M_j`` of each hidden neuron, ``(n, s, s)``.
    at : the coordinate of each row that reads the image, ``(r,)``.
    centre : c of those rows, ``(r,)``; of outputs −1.
    neuron : which neuron each of them is, ``(r,)``; of outputs −1.
    """

    constant: Tensor
    slopes: Tensor
    at: Tensor
    centre: Tensor
    neuron: Tensor

    def leading(self, t: Tensor) -> Tensor:
        """A: what each row is multiplied with, ``(r,)``."""
        if not len(t):
            return -self.centre
        times = torch.where(self.neuron < 0, 1.0, t[self.neuron.clamp(min=0)])
        return -self.centre * times


@dataclass(frozen=True, eq=False)
class Joint:
    """A part and its head.

    Parameters
    ----------
    body : the part's blocks, without exit or output; its multipliers are 0 to ``count − 1``.
    exits : what it ends in, ``(B, q, D)``.
    weights : how many frequencies each stands for, ``(B,)``.
    reads : rows of the head in Fourier space, ``(B, r, q)``.
    count : multipliers of the body; those of the head's neurons follow.
    """

    body: FourierBlock
    exits: Tensor
    weights: Tensor
    reads: Tensor
    head: Head
    count: int


@dataclass
class Point:
    """Factors at some multipliers."""

    y: Tensor
    lower: list[Tensor]
    gram: Tensor
    schur: Tensor
    barrier: float


class Barrier:
    """The barrier of a joint problem and its derivatives.

    Multipliers of what is dead could grow for ever: there is a barrier at ``most`` too.
    """

    def __init__(self, joint: Joint, most: Tensor) -> None:
        self.joint, self.most = joint, most
        body = joint.body
        at_once = max(1, CHUNK_ELEMENTS // max(1, 2 * len(body.places) ** 2))
        steps = torch.arange(body.frequencies, device=joint.weights.device)
        self.chunks = [
            (body.select(own), joint.exits[own], joint.weights[own], joint.reads[own])
            for own in torch.split(steps, at_once)
        ]
        total = float(joint.weights.sum())
        self.heavy = total
        self.order = total * (body.side + len(joint.head.constant))
        self.above = torch.full_like(most, total)

    def at(self, y: Tensor) -> Point | None:
        """Where all blocks have factors; None elsewhere."""
        joint = self.joint
        if not bool(((y > 0.0) & (y < self.most)).all()):
            return None
        rows = joint.reads.shape[1]
        lower, barrier = [], -float(self.above @ (1.0 - y / self.most).log())
        gram = y.new_zeros(rows, rows)
        for body, exits, weights, reads in self.chunks:
            L, info = torch.linalg.cholesky_ex(body.whole(body.linear_part(y)))
            if bool(info.any()):
                return None
            half = torch.linalg.solve_triangular(L, exits.mH, upper=False) @ reads.mH
            gram += (weights[:, None, None] * (half.mH @ half).real).sum(0)
            logs = L.diagonal(dim1=1, dim2=2).real.log().sum(1)
            barrier -= 2.0 * float(weights @ logs)
            lower.append(L)
        head, t = joint.head, y[joint.count :]
        schur = head.constant + torch.tensordot(t, head.slopes, 1)
        a = head.leading(t)
        schur[head.at[:, None], head.at] -= a[:, None] * gram * a
        factor, info = torch.linalg.cholesky_ex(schur)
        if bool(info):
            return None
        barrier -= 2.0 * self.heavy * float(factor.diagonal().log().sum())
        return Point(y, lower, gram, factor, barrier) if math.isfinite(barrier) else None

    def derivatives(self, point: Point) -> tuple[Tensor, Tensor]:
        """Gradient ``(n,)`` and Hessian ``(n, n)`` of the barrier."""
        joint, y = self.joint, point.y
        head, t, nb = joint.head, y[joint.count :], joint.count
        n, side = len(y), len(head.constant)
        a = head.leading(t)
        inverse = torch.cholesky_inverse(point.schur)
        at = head.at
        inverse *= self.heavy
        read = a[:, None] * inverse[at[:, None], at] * a
        room = self.most - y
        g, H = self.above / room, torch.diag(self.above / room.square())
        of_body = y.new_zeros(nb, len(at), len(at))
        for (body, exits, weights, reads), L in zip(self.chunks, point.lower, strict=True):
            self._add_body(body, exits, weights, reads, L, read, (g, H, of_body))
        whole = y.new_zeros(n, side, side)
        whole[:nb, at[:, None], at] = a[:, None] * of_body * a
        whole[nb:] = head.slopes
        hidden = (head.neuron >= 0).nonzero()[:, 0]
        rows, neurons, c = at[hidden], head.neuron[hidden], head.centre[hidden]
        crossing = c[:, None] * point.gram[hidden] * a  # −A_j G A, its only row
        whole[nb + neurons[:, None], rows[:, None], at] += crossing
        whole[nb + neurons[:, None], at, rows[:, None]] += crossing
        half = torch.linalg.solve_triangular(point.schur, whole, upper=False)
        half = torch.linalg.solve_triangular(point.schur, half.mT, upper=False)
        flat = half.reshape(n, -1)
        g -= self.heavy * half.diagonal(dim1=1, dim2=2).sum(1)
        H += self.heavy * (flat @ flat.T)
        between = 2.0 * c[:, None] * c * inverse[rows[:, None], rows]
        between = between * point.gram[hidden[:, None], hidden]
        H[nb + neurons[:, None], nb + neurons] += between
        if len(hidden):
            mixed = (whole[:nb] @ inverse)[:, rows, rows] * (-2.0 / t[neurons])
            H[:nb, nb + neurons] += mixed
            H[nb + neurons, :nb] += mixed.T
        return g, H

    def _add_body(
        self,
        body: FourierBlock,
        exits: Tensor,
        weights: Tensor,
        reads: Tensor,
        L: Tensor,
        read: Tensor,
        into: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        """What some frequencies add to the gradient, the Hessian, and ``W R P⁻¹M_kP⁻¹RᴴWᴴ``."""
        g, H, of_body = into
        F, places, signs = _rows(body), body.places, body.signs
        half = torch.linalg.solve_triangular(L, F.mH, upper=False)
        Q = half.mH @ half
        out = torch.linalg.solve_triangular(L, exits.mH, upper=False) @ reads.mH
        J = out.mH @ half
        through = J.mH @ (read.to(J.dtype) @ J)
        sums = Q.diagonal(dim1=1, dim2=2).real
        g.index_add_(0, places, -signs * (weights @ sums))
        both = torch.view_as_real(Q) * torch.view_as_real(through.mul_(2.0).add_(Q))
        rows = torch.tensordot(weights, both, 1).sum(-1) * signs[:, None] * signs
        columns = rows.new_zeros(len(rows), len(g)).index_add_(1, places, rows)
        H.index_add_(0, places, columns)
        J = J * weights.sqrt()[:, None, None]
        J = torch.cat((J.real, J.imag)).permute(2, 1, 0)
        of_body.index_add_(0, places, (signs[:, None, None] * J) @ J.mT)


def _rows(body: FourierBlock) -> Tensor:
    """The rows f of ``M_k = Σ_f s_f fᴴf``, ``(B, F, D)``, in the order of ``body.signs``."""
    shape = body.frequencies, len(body.places), body.side
    found = torch.zeros(shape, dtype=body.dtype, device=body.places.device)
    own = body.coordinates
    unit = torch.arange(body.sizes[0], device=body.places.device)
    found[:, unit, unit] = 1.0
    start = body.sizes[0]
    for row in body.rows:
        n = len(row.index)
        if row.group is not None:
            for g, part in row.reads.items():
                found[:, start : start + n, own[g]] = -row.centre[:, None] * part.matrix
            steps = torch.arange(n, device=unit.device)
            found[:, start + steps, own[row.group].start + steps] = 1.0
            start += n
        for g, part in row.reads.items():
            found[:, start : start + n, own[g]] = part.matrix
        start += n
    return found
