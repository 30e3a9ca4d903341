"""Matrix inequalities of random chains of dense layers, in every form a block can take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.conic.problem import Block, Problem
from lipcert.conic.rows import Piece, PieceRows

F64 = torch.float64


def random_weights(sizes: list[int], seed: int) -> list[Tensor]:
    """Weights between layers of these sizes, the scale of each its own."""
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for n, m in zip(sizes, sizes[1:], strict=False):
        scale = float(torch.rand(1, generator=generator)) * 2.0 + 0.3
        weights.append(torch.randn(m, n, dtype=F64, generator=generator) * scale / math.sqrt(n))
    return weights


@dataclass(frozen=True)
class Form:
    """How a chain becomes a problem.

    Parameters
    ----------
    slopes : of every activation.
    group : neurons that share a multiplier: 1, a size, or None for whole layers.
    permuted : whether the rows of each block are stored backwards, with a partner map.
    cuts : hidden layers before whose pre-activations a new block begins, counted from 0.
    """

    slopes: tuple[float, float] = (0.0, 1.0)
    group: int | None = 1
    permuted: bool = False
    cuts: tuple[int, ...] = ()


def chain_problem(weights: list[Tensor], form: Form | None = None) -> Problem:
    """The problem of ``W_L φ(… φ(W_1 x))``, its start by the recursion from the last layer back."""
    form = form or Form()
    alpha, beta = form.slopes
    c, r = (alpha + beta) / 2.0, (beta - alpha) / 2.0
    hidden = len(weights) - 1
    wider = 1.0 + 1.0 / len(weights)

    # the start: u_k on each layer, d on each cut, and ρ
    g = norm(weights[-1]) ** 2
    layer_start, cut_start = [0.0] * hidden, [0.0] * hidden
    for k in reversed(range(hidden)):
        g *= wider
        layer_start[k] = (1.0 + abs(c) / r) * g
        g *= (r + abs(c)) ** 2 * wider
        if k in form.cuts:
            cut_start[k] = g
            g *= wider
        g *= norm(weights[k]) ** 2
    start = [torch.tensor([g * wider], dtype=F64)]
    used = 1

    def take(count: int, value: float, group: int | None = 1) -> Tensor:
        nonlocal used
        index = used + torch.arange(count) // (group or count)
        start.append(torch.full((int(index[-1]) + 1 - used,), value, dtype=F64))
        used = int(index[-1]) + 1
        return index

    neurons = [take(len(weights[k]), layer_start[k], form.group) for k in range(hidden)]
    couplings = {k: take(len(weights[k]), cut_start[k]) for k in form.cuts}
    blocks: list[Block] = []
    for first, stop in zip([0, *form.cuts], [*form.cuts, hidden], strict=True):
        parts = weights[first:stop]
        head = torch.zeros(weights[0].shape[1], dtype=torch.long)
        if blocks:
            head = couplings[first]
            parts = [torch.eye(len(head), dtype=F64), *parts[1:]]
        index = torch.cat([neurons[k] for k in range(first, stop)] or [head[:0]])
        ending = weights[stop] if stop < hidden else None
        block = _block(parts, ending, head, index, couplings.get(stop), weights[-1], c, r)
        blocks.append(_backwards(block) if form.permuted else block)
    return Problem(tuple(blocks), torch.cat(start), signed=alpha * beta > 0.0)


def _block(
    parts: list[Tensor],
    ending: Tensor | None,
    head: Tensor,
    index: Tensor,
    coupling: Tensor | None,
    last: Tensor,
    c: float,
    r: float,
) -> Block:
    pieces, row, column = [], 0, 0
    for part in parts:
        pieces.append(Piece(row, column, part))
        row, column = row + part.shape[0], column + part.shape[1]
    n, N = len(head), len(index)
    side = n + N
    below, below_index = torch.full((N,), r * r, dtype=F64), index
    if coupling is None:
        output = torch.zeros(len(last), side, dtype=F64)
        output[:, side - last.shape[1] :] = last
    else:
        assert ending is not None
        output = torch.zeros(0, side, dtype=F64)
        pieces.append(Piece(row, side - ending.shape[1], ending))
        row += len(ending)
        below = torch.cat((below, torch.ones(len(ending), dtype=F64)))
        below_index = torch.cat((index, coupling))
    return Block(
        inputs=n,
        rows=PieceRows(row, side, tuple(pieces)),
        centre=torch.full((N,), c, dtype=F64),
        partner=None,
        head_weight=torch.ones(n, dtype=F64),
        head_index=head,
        activation_weight=torch.ones(N, dtype=F64),
        activation_index=index,
        row_weight=below,
        row_index=below_index,
        output=output,
    )


def _backwards(block: Block) -> Block:
    """The same block with its rows stored in reverse order."""
    count = block.rows.count
    pieces = tuple(
        Piece(count - piece.rows.stop, piece.column, piece.matrix.flip(0))
        for piece in block.rows.pieces
    )
    return replace(
        block,
        rows=PieceRows(count, block.side, pieces),
        partner=count - 1 - torch.arange(block.activations),
        row_weight=block.row_weight.flip(0),
        row_index=block.row_index.flip(0),
    )


def random_block(seed: int, multipliers: int = 9) -> Block:
    """A block without structure: shared rows and multipliers, rows of no activation, gaps."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=F64, generator=generator)

    def whole(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape or (1,), generator=generator)

    n, N, J = int(whole(1, 5)), int(whole(1, 9)), int(whole(1, 12))
    partner: Tensor | None = whole(0, J, N)
    if seed % 3 == 0:
        J, partner = N + int(whole(0, 3)), None
    side = n + N
    pieces, row = [], 0
    while row < J:
        rows = min(int(whole(1, 5)), J - row)
        column = int(whole(0, side))
        width = min(int(whole(1, 5)), side - column)
        pieces.append(Piece(row, column, normal(rows, width)))
        row += max(1, rows - int(whole(0, 2)))  # some overlap in a part of their rows
    ordered = seed % 2 == 0
    above = torch.arange(N) % multipliers if ordered else whole(0, multipliers, N)
    return Block(
        inputs=n,
        rows=PieceRows(J, side, tuple(pieces)),
        centre=normal(N),
        partner=partner,
        head_weight=normal(n).abs(),
        head_index=torch.zeros(n, dtype=torch.long) if ordered else whole(0, multipliers, n),
        activation_weight=normal(N).abs(),
        activation_index=above,
        row_weight=normal(J).abs(),
        row_index=whole(0, multipliers, J),
        output=normal(2, side),
    )


def constraint_matrices(block: Block, multipliers: int) -> Tensor:
    """``M_k`` for every multiplier, ``(m, D, D)``, by their definition."""
    A = block.rows.dense()
    E = torch.eye(block.side, dtype=F64)
    partner = range(block.activations) if block.partner is None else block.partner.tolist()
    M = torch.zeros(multipliers, block.side, block.side, dtype=F64)
    for i in range(block.inputs):
        M[block.head_index[i]] += block.head_weight[i] * torch.outer(E[i], E[i])
    for k, j in enumerate(partner):
        w = E[block.inputs + k] - block.centre[k] * A[j]
        M[block.activation_index[k]] += block.activation_weight[k] * torch.outer(w, w)
    for j in range(block.rows.count):
        M[block.row_index[j]] -= block.row_weight[j] * torch.outer(A[j], A[j])
    return M


def smallest_eigenvalue(problem: Problem, y: Tensor) -> float:
    """Of all blocks at y, from their constraint matrices."""
    smallest = math.inf
    for block in problem.blocks:
        M = constraint_matrices(block, len(y))
        P = torch.einsum("k,kij->ij", y, M) - block.output.T @ block.output
        smallest = min(smallest, float(torch.linalg.eigvalsh(P)[0]))
    return smallest


def definite(side: int, seed: int) -> Tensor:
    """A random positive definite matrix."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(side, side + 2, dtype=F64, generator=generator)
    return root @ root.T / side + 0.1 * torch.eye(side, dtype=F64)


def norm(matrix: Tensor) -> float:
    """Spectral norm."""
    return float(torch.linalg.matrix_norm(matrix, 2))
