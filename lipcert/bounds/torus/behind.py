"""A dense head behind the last convolutional part, read through the part's ellipsoid.

Proven multipliers of a part bound its last image z at every frequency: ``z = V^{1/2} w`` with
``‖w‖² ≤ y_0 ‖dx‖²`` (:mod:`lipcert.conic.exits`).  Rows W that read z are ``M`` behind a
contraction wherever ``M Mᵀ ≽ W V Wᵀ``, so the head with M in place of W is a dense model of few
inputs, and ``√y_0`` times a constant of it is one of the whole.  Nothing is lost to a coupling
that is diagonal; multipliers that are good for this are found by :mod:`lipcert.conic.joint`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipcert.bounds.coordinates import Coefficients
from lipcert.bounds.dominating import dominating_factor
from lipcert.bounds.torus.chain import Chain, ChainProblem
from lipcert.bounds.torus.head import neuron_slopes
from lipcert.bounds.torus.readers import Reader
from lipcert.conic.arrow import Head, Joint
from lipcert.conic.exits import exit_factors, exit_matrix
from lipcert.conic.fourier import FourierBlock, Reading
from lipcert.operators import Dense, Reshape, compose
from lipcert.rounding import UNIT_ROUNDOFF, add_up, mul_up
from lipcert.signals import SignalForm, Terms
from lipcert.spectral.explicit import explicit_matrix
from lipcert.spectral.tensors import frobenius_up, gamma_of_product

ROUNDING = 1.0 + 1e-14
"""For a few roundings, such as those of the inverse of a root."""


@dataclass(frozen=True, eq=False)
class Behind:
    """A last part and its head, in multipliers of their own.

    Parameters
    ----------
    body : the part's blocks without its exit; multiplier 0 is that of the entry.
    exits : what is read of them as the last image, by group.
    weights : how many frequencies each stands for, ``(B,)``.
    head : dense stages that read the image as signal 0.
    readers : by stage, the output as one beyond the last.
    taken : the chain's multipliers that are the body's, the entry's first.
    """

    body: FourierBlock
    exits: Mapping[int, Reading]
    weights: Tensor
    head: SignalForm
    readers: Mapping[int, Reader]
    taken: Tensor

    @property
    def rows(self) -> int:
        """How many rows read the image."""
        return sum(reader.fourier.shape[1] for reader in self.readers.values())

    def alone(self, y: Tensor) -> SignalForm | None:
        """The head behind the ellipsoid that the body's multipliers prove; None unproved."""
        factors = exit_factors(self.body, self.exits, y)
        if factors is None:
            return None
        weights = self.weights.sqrt()[:, None, None]
        largest = float(frobenius_up(factors).max())
        parts = []
        for reader in self.readers.values():
            product = weights * (reader.fourier @ factors)
            sizes = self.weights.sqrt() * frobenius_up(reader.fourier) * frobenius_up(factors)
            rounding = gamma_of_product(factors.shape[1] + 2, is_complex=True)
            error = mul_up(rounding, float(frobenius_up(sizes[None, None])) * ROUNDING)
            error = add_up(error, mul_up(reader.error, largest))
            spread = torch.cat((product.real, product.imag)).permute(1, 0, 2)
            parts.append(Coefficients(spread.reshape(len(spread), -1), error))
        M = dominating_factor(parts)
        return None if M is None else self._reading(M)

    def _reading(self, M: Tensor) -> SignalForm:
        """The head with rows of M in place of what reads the image."""
        pieces = iter(torch.split(M, [r.fourier.shape[1] for r in self.readers.values()]))

        def replaced(terms: Terms) -> Terms:
            if 0 not in terms:
                return terms
            rows, shape = next(pieces).contiguous(), terms[0].out_shape
            dense = Dense(rows, (1,))
            return {**terms, 0: compose(Reshape(dense.out_shape, shape), dense)}

        stages = [replace(stage, terms=replaced(stage.terms)) for stage in self.head.stages]
        output = replaced(self.head.output_terms)
        return replace(
            self.head, input_shape=(1, M.shape[1]), stages=tuple(stages), output_terms=output
        )

    def joint(self) -> Joint:
        """The problem of the body's multipliers and the head's, together."""
        reads = torch.cat([reader.fourier for reader in self.readers.values()], dim=1)
        exits = exit_matrix(self.body, self.exits)
        head = _head(self.head, reads.device)
        return Joint(self.body, exits, self.weights, reads, head, len(self.taken))

    @property
    def is_coupled(self) -> bool:
        """Whether the entry is behind other parts, whose coupling stays as it is."""
        return int(self.taken[0]) != 0

    def of_body(self, y: Tensor) -> Tensor:
        """The body's multipliers from those of the chain."""
        own = y[self.taken].clone()
        if self.is_coupled:
            own[0] = 1.0
        return own


def behind(chain: Chain, problem: ChainProblem, y: Tensor) -> Behind | None:
    """The last part of a chain and its head; None without a head, or where many rows read it.

    Parameters
    ----------
    y : proven multipliers of the chain.
    """
    head, last, readers = chain.head, problem.last, problem.readers
    if head is None or last is None or readers is None:
        return None
    body, taken = _renumbered(replace(last, rows=last.rows[:-1], output={}), y)
    weights = _weights(chain.parts[-1].geometry.coarse, y.device)
    return Behind(body, last.rows[-1].reads, weights, head, readers, taken)


def _weights(coarse: tuple[int, ...], device: torch.device) -> Tensor:
    """2 where only one of a conjugate pair is among the frequencies, ``(B,)``."""
    shape = math.prod(coarse[:-1]), coarse[-1] // 2 + 1
    found = torch.full(shape, 2.0, dtype=torch.float64, device=device)
    found[:, 0] = 1.0
    if coarse[-1] % 2 == 0:
        found[:, -1] = 1.0
    return found.reshape(-1)


def _renumbered(body: FourierBlock, y: Tensor) -> tuple[FourierBlock, Tensor]:
    """The body with multipliers of its own, its entry in units of the coupling before it."""
    heads = body.head_index
    own = torch.unique(torch.cat([heads[:0], *(row.index for row in body.rows)]))
    taken = torch.cat((heads[:1], own))
    place = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    place[own] = torch.arange(1, len(taken), device=y.device)
    rows = [replace(row, index=place[row.index]) for row in body.rows]
    if bool((heads != 0).any()):
        lengths = y[heads].rsqrt() * ROUNDING
        rows = [replace(row, reads=_in_lengths(row.reads, lengths)) for row in rows]
    return replace(body, head_index=torch.zeros_like(heads), rows=tuple(rows)), taken


def _in_lengths(reads: Mapping[int, Reading], lengths: Tensor) -> dict[int, Reading]:
    """Readings of the entry in units in which its coupling is 1, or a little more."""
    found = dict(reads)
    if 0 in found:
        matrix = found[0].matrix * lengths
        rounding = mul_up(2.0 * UNIT_ROUNDOFF, float(frobenius_up(matrix).max()))
        error = add_up(mul_up(found[0].error, float(lengths.max())), rounding)
        found[0] = Reading(matrix, error)
    return found


def _head(head: SignalForm, device: torch.device) -> Head:
    """The matrix inequality of a head without what reads its input."""
    sizes = [stage.input_size for stage in head.stages]
    starts = [0, *itertools.accumulate(sizes)]
    outputs = math.prod(head.output_shape) if 0 in head.output_terms else 0
    neurons, side = starts[-1], starts[-1] + outputs
    constant = torch.zeros(side, side, dtype=torch.float64, device=device)
    slopes = torch.zeros(neurons, side, side, dtype=torch.float64, device=device)
    at, centres, of = [], [], []
    for number, stage in enumerate(head.stages, start=1):
        first, count = starts[number - 1], sizes[number - 1]
        own = torch.arange(first, first + count, device=device)
        centre, below = (value.to(device) for value in neuron_slopes(stage))
        a = _over_stages(stage.terms, starts, side, device)
        if 0 in stage.terms:
            at.append(own)
            centres.append(centre)
            of.append(own)
        if a is not None:
            slopes[own, own] -= centre[:, None] * a
            slopes[own, :, own] -= centre[:, None] * a
            squares = (centre.square() - below)[:, None, None]
            slopes[own] += squares * a[:, :, None] * a[:, None, :]
        slopes[own, own, own] += 1.0
    C = _over_stages(head.output_terms, starts, side, device)
    if outputs:
        own = torch.arange(neurons, side, device=device)
        constant[own, own] = 1.0
        if C is not None:
            constant[own] += C
            constant[:, own] += C.T
        at.append(own)
        centres.append(torch.full((outputs,), -1.0, dtype=torch.float64, device=device))
        of.append(torch.full_like(own, -1))
    elif C is not None:
        constant -= C.T @ C
    return Head(constant, slopes, torch.cat(at), torch.cat(centres), torch.cat(of))


def _over_stages(terms: Terms, starts: list[int], side: int, device: torch.device) -> Tensor | None:
    """What is read of earlier stages of a head, ``(rows, side)``."""
    found: Tensor | None = None
    for signal, operator in terms.items():
        if signal == 0:
            continue
        matrix, _ = explicit_matrix(operator, device)
        if found is None:
            found = torch.zeros(len(matrix), side, dtype=torch.float64, device=device)
        first = starts[signal - 1]
        found[:, first : first + matrix.shape[1]] += matrix
    return found
