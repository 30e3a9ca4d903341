"""Attacking samples: the smallest perturbations found that change what the deployed model says.

No attack proves anything; it shows from above what a certificate shows from below.  A
perturbation counts only if ONNX Runtime misclassifies the float32 sample *and* real arithmetic
provably does, so that one inside a certified radius contradicts the proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipcert.certification.ascent import approach, ascend, everyone
from lipcert.certification.balls import BALLS
from lipcert.certification.book import Book, float32_range
from lipcert.certification.certificates import Judge
from lipcert.certification.margins import Margins, Samples
from lipcert.errors import InputError

BLOCK_ELEMENTS = 1 << 22
"""Most elements of the samples attacked at once."""
REACH = 16.0
"""The search for the smallest perturbation goes up to this multiple of the largest ε."""
STRIDE = 0.6
"""First steps of that search, relative to the size reached."""
NEAR = 2.0
"""Samples whose smallest perturbation known is above this multiple of ε get one run there."""
REFINEMENT = 0.4
"""Share of the steps that follow a success, to make it smaller."""
FLOAT32_ROUNDING = 2.0**-24


@dataclass(frozen=True)
class AttackSettings:
    """How an attack is run.

    Parameters
    ----------
    steps : gradient steps of one restart.
    restarts : random starts for each sample and ε.
    seed : of the random starts; the same seed gives the same result.
    """

    steps: int = 50
    restarts: int = 3
    seed: int = 0
    name: str = "pgd"


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack found about n samples.

    Parameters
    ----------
    sizes : ``(n,)``, norm (rounded upward) of the smallest perturbation found that changes a
        correct prediction; infinite where none was found, 0 where the prediction is wrong.
    points : ``(n, *sample_shape)`` float32, the perturbed sample behind each size that is
        neither 0 nor infinite; the sample itself elsewhere.
    rounded : ``(n,)``, whether ONNX Runtime's class changed at a point nearer than the
        certified radius although the class in real arithmetic does not provably.
    """

    sizes: np.ndarray
    points: np.ndarray
    rounded: np.ndarray


class Attacker:
    """Attacks samples at each ε, smaller ones first, and looks for the smallest perturbation.

    Random numbers are a function of seed, absolute index, ε and restart.  What else there is in
    a batch changes the last bits of its matrix products, so that two runs agree bit by bit where
    data are cut into the same shards.

    Parameters
    ----------
    judge : of the map from the data's units to outputs.
    norm : l2 or linf.
    eps : sizes at which accuracy is to be reduced.
    input_range : lowest and highest value of a perturbed sample, None for any.

    Raises InputError for another norm, for no ε and for settings that make no sense.
    """

    def __init__(
        self,
        judge: Judge,
        norm: str,
        eps: Sequence[float],
        settings: AttackSettings,
        input_range: tuple[float, float] | None = None,
    ) -> None:
        if norm not in BALLS:
            raise InputError("--attack", f"does not know {norm}", f"use {' or '.join(BALLS)}")
        if not eps:
            raise InputError("--attack", "needs a size", "give one or more of --eps")
        if settings.steps < 1 or settings.restarts < 0:
            raise InputError("--attack", "needs one step or more, and no negative restarts")
        self._judge = judge
        self._ball = BALLS[norm]
        self._eps = sorted({float(size) for size in eps if size > 0.0})
        self._settings = settings
        self._range = float32_range(input_range)
        self._margins = Margins(judge.graph.ending_at(judge.logits))

    def attack(
        self,
        x: np.ndarray,
        labels: np.ndarray,
        correct: np.ndarray,
        radii: np.ndarray,
        *,
        first: int,
    ) -> Attacked:
        """Attack all correct samples, those with a certified radius too.

        Parameters
        ----------
        x : ``(n, *sample_shape)``, raw samples in the data's units.
        labels, correct : ``(n,)``, classes and where ONNX Runtime gives them.
        radii : ``(n,)``, certified; used only to tell where rounding changed a class inside.
        first : index of ``x[0]`` in the data set.
        """
        book = Book(self._judge, self._ball, self._margins, x, labels, radii)
        book.sizes[~np.asarray(correct)] = 0.0
        rows = np.flatnonzero(correct)
        block = max(1, BLOCK_ELEMENTS // max(1, math.prod(x.shape[1:])))
        for start in range(0, len(rows) if self._eps else 0, block):
            self._attack_block(book, rows[start : start + block], first)
        return Attacked(book.sizes, book.points.reshape(x.shape), book.rounded)

    def _attack_block(self, book: Book, rows: np.ndarray, first: int) -> None:
        device = self._judge.graph.device
        samples = Samples(
            torch.from_numpy(book.centre[rows]).to(device),
            torch.from_numpy(np.asarray(book.labels[rows], dtype=np.int64)).to(device),
            rows + first,
            self._settings.seed,
            *self._range,
        )
        rivals = self._rivals(samples)
        leads = self._smallest(samples, rivals)
        known = leads.abs().amax(1) > 0.0
        book.settle(rows[known.cpu().numpy()], samples.at(known), leads[known])
        for place, size in enumerate(self._eps):
            standing = book.sizes[rows] > size
            self._attack_at(size, place, book, rows, samples, rivals, leads)
            broken = np.flatnonzero(standing & (book.sizes[rows] <= size))
            self._refine(place, book, rows, samples, torch.from_numpy(broken).to(device))

    def _rivals(self, samples: Samples) -> Tensor:
        """Classes to aim at ``(N, 1 + restarts)``: any, then by margin over pairwise constant."""
        logits = self._margins.logits(samples.centre).cpu().numpy()
        labels = samples.labels.cpu().numpy()
        columns = [everyone(samples)]
        if logits.shape[1] > 1:
            chosen = logits[np.arange(len(logits)), labels]
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = (chosen[:, None] - logits) / self._judge.pairwise[labels]
            reach = np.where(np.isnan(reach), np.inf, reach)
            reach[np.arange(len(reach)), labels] = np.inf
            order = np.argsort(reach, axis=1, kind="stable")
            order = order[order != labels[:, None]].reshape(len(order), -1)
            nearest = torch.from_numpy(order).to(samples.labels)
            columns += [nearest[:, r % order.shape[1]] for r in range(self._settings.restarts)]
        else:
            columns *= 1 + self._settings.restarts
        return torch.stack(columns, 1)

    def _smallest(self, samples: Samples, rivals: Tensor) -> Tensor:
        """The smallest perturbations that a search from the samples themselves finds."""
        best = torch.full_like(samples.centre[:, 0], math.inf)
        leads = torch.zeros_like(samples.centre)
        for run in range(rivals.shape[1]):
            found, sizes = approach(
                self._margins,
                samples,
                self._ball,
                torch.zeros_like(samples.centre),
                rivals[:, run],
                steps=self._settings.steps,
                limit=REACH * self._eps[-1],
                stride=STRIDE,
                key=(0, run),
            )
            smaller = sizes < best
            leads[smaller], best = found[smaller], torch.where(smaller, sizes, best)
        return leads

    def _attack_at(
        self,
        size: float,
        place: int,
        book: Book,
        rows: np.ndarray,
        samples: Samples,
        rivals: Tensor,
        leads: Tensor,
    ) -> None:
        """All runs at one ε: from the best perturbation known, then from random ones."""
        for run in range(rivals.shape[1]):
            sizes = book.sizes[rows]
            near = np.isinf(sizes) | (sizes <= NEAR * size) if run else True
            left = np.flatnonzero((sizes > size) & near)
            if not len(left):
                return
            active = torch.from_numpy(left).to(leads.device)
            part = samples.at(active)
            radius = self._radius(part, size)
            key = (1 + place, run)
            if run == 0:
                start = _stretched(leads[active], self._ball.size(leads[active]), radius)
            else:
                start = self._ball.start(part.noise(*key), radius)
            found, excess = ascend(
                self._margins,
                part,
                self._ball,
                start,
                radius,
                rivals[active, run],
                steps=self._settings.steps,
                key=key,
            )
            unknown = torch.from_numpy(np.isinf(book.sizes[rows[left]])).to(leads.device)
            leads[active[unknown]] = found[unknown]
            crossing = excess > 0.0
            crossed = crossing.cpu().numpy()
            book.enter(rows[left[~crossed]], (part.centre + found)[~crossing], part)
            book.settle(rows[left[crossed]], part.at(crossing), found[crossing])

    def _refine(
        self, place: int, book: Book, rows: np.ndarray, samples: Samples, broken: Tensor
    ) -> None:
        """Make the perturbations that broke samples at one ε smaller."""
        if not len(broken):
            return
        part, own = samples.at(broken), rows[broken.cpu().numpy()]
        start = torch.from_numpy(book.points[own].astype(np.float64)).to(part.centre)
        found, sizes = approach(
            self._margins,
            part,
            self._ball,
            start - part.centre,
            everyone(part),
            steps=max(1, round(REFINEMENT * self._settings.steps)),
            limit=REACH * self._eps[-1],
            stride=0.5 * STRIDE,
            key=(1 + place, self._settings.restarts + 1),
        )
        smaller = torch.isfinite(sizes)
        book.settle(own[smaller.cpu().numpy()], part.at(smaller), found[smaller])

    def _radius(self, samples: Samples, size: float) -> Tensor:
        """ε less what rounding a point to float32 may add, ``(N,)``."""
        reach = self._ball.size(samples.centre) + size
        return (size - 1.01 * FLOAT32_ROUNDING * reach).clamp(min=0.5 * size)


def _stretched(delta: Tensor, sizes: Tensor, radius: Tensor) -> Tensor:
    """Perturbations of size ``radius`` in the same directions."""
    known = sizes > 0.0
    rate = torch.where(known, radius / torch.where(known, sizes, 1.0), 0.0)
    return delta * rate[:, None]
