"""Certifying a data set: a radius for every sample (Tsuzuku et al. 2018; Li et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from lipcert.certification.evaluation import RoundedEvaluator
from lipcert.certification.float32 import Float32
from lipcert.certification.result import CertifiedAt
from lipcert.certification.runtime import Runtime
from lipcert.errors import InputError, SoundnessError
from lipcert.graph import Graph
from lipcert.rounding import mul_up

BATCH = 256
"""Most samples evaluated at once."""
MOST_VALUES = 1 << 23
"""Most float64 numbers of one value of the graph, over the samples evaluated at once."""
DEVIATION = 1e-3
"""Relative difference from ONNX Runtime beyond which the two cannot be the same model."""
ROUNDS = 3
"""How many sizes of perturbations float32 is looked at for."""


@dataclass(frozen=True)
class Judged:
    """Per-sample results of some samples, each ``(samples,)``.

    ``values`` are the scores of a model with one output, within ``error`` of the true ones;
    ``real`` the radii in real arithmetic, where margins and radii are for float32.
    """

    predictions: np.ndarray
    margins: np.ndarray
    radii: np.ndarray
    values: np.ndarray | None
    error: float
    disagreements: int
    deviation: float
    real: np.ndarray | None = None


@dataclass(frozen=True)
class Judge:
    """What turns samples into radii.

    Parameters
    ----------
    evaluator : of the certified map, from the data's units to the model's outputs.
    logits : the value whose order decides.
    pairwise : ``(K, K)`` constants of the logits' differences; ``(1, 1)`` for one logit.
    runtime : the deployed model.
    prepare : raw samples to what the deployed model is fed.
    float32 : what rounding costs, where radii hold for any float32 evaluation; else None.
    """

    evaluator: RoundedEvaluator
    logits: str
    pairwise: np.ndarray
    runtime: Runtime
    prepare: Callable[[np.ndarray], np.ndarray]
    float32: Float32 | None = None

    @property
    def graph(self) -> Graph:
        """The certified map."""
        return self.evaluator.graph

    @cached_property
    def batch(self) -> int:
        """Samples evaluated at once: a power of two that keeps the values in memory."""
        widest = max((math.prod(node.shape) for node in self.graph.nodes), default=1)
        fits = max(1, MOST_VALUES // widest)
        return min(BATCH, 1 << (fits.bit_length() - 1))

    def judge(self, x: np.ndarray, labels: np.ndarray, *, first: int = 0) -> Judged:
        """Predictions, margins and radii of samples ``(N, *sample_shape)`` in the data's units.

        ``first`` is the index of the first of them in the data set, for errors.
        """
        starts = range(0, len(x), self.batch)
        parts = [
            self._batch(
                x[start : start + self.batch], labels[start : start + self.batch], first + start
            )
            for start in starts
        ]
        return Judged(
            np.concatenate([part.predictions for part in parts]),
            np.concatenate([part.margins for part in parts]),
            np.concatenate([part.radii for part in parts]),
            None
            if len(self.pairwise) > 1
            else np.concatenate([part.values for part in parts if part.values is not None]),
            max(part.error for part in parts),
            sum(part.disagreements for part in parts),
            max(part.deviation for part in parts),
            None if self.float32 is None else np.concatenate([part.real for part in parts]),
        )

    def _batch(self, raw: np.ndarray, labels: np.ndarray, first: int) -> Judged:
        deployed = self.runtime.run(self.prepare(raw))
        batch = torch.from_numpy(raw.astype(np.float64)).to(self.graph.device)
        evaluation = self.evaluator.run(batch, (self.logits, self.graph.output))
        outputs = evaluation.values[self.graph.output].cpu().numpy()
        logits = evaluation.values[self.logits].cpu().numpy()
        error = evaluation.errors[self.logits]
        predicted = self.decide(deployed)
        decided, gaps, slopes = self._gaps(logits, error)
        agreed, right = decided == predicted, predicted == labels
        radii, real, rounding = reach_of(gaps, slopes), None, np.zeros(len(raw))
        if self.float32 is not None:
            real = np.where(agreed & right, radii, 0.0)
            gaps, radii, rounding = self._rounded(self.float32, raw, decided, gaps, slopes, radii)
        deviation = self._deviation(deployed, outputs, rounding, first)
        return Judged(
            predicted,
            np.where(agreed, gaps.min(1), 0.0),
            np.where(agreed & right, radii, 0.0),
            logits[:, 0] if logits.shape[1] == 1 else None,
            error,
            int(np.count_nonzero(~agreed)),
            deviation,
            real,
        )

    def _rounded(
        self,
        float32: Float32,
        raw: np.ndarray,
        decided: np.ndarray,
        gaps: np.ndarray,
        slopes: np.ndarray,
        radii: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gaps and radii that any float32 evaluation leaves, ``gap ≥ cost + L r``; and how far a
        logit may be off, 0 where nothing is known.

        The cost is that of the largest perturbation.  Samples of which it takes more than half are
        tried again with a smaller one.
        """
        left, found, off = np.zeros_like(gaps), np.zeros_like(radii), np.zeros_like(radii)
        reach, some = np.minimum(radii, float32.farthest), np.arange(len(radii))
        for _ in range(ROUNDS):
            cost, far = float32.bounds(raw[some], reach[some], decided[some])
            known = np.isfinite(cost)
            rest = np.nextafter(gaps[some] - np.where(known, cost, 0.0), -np.inf)
            rest = np.where(known, np.maximum(rest, 0.0), 0.0)
            radius = np.minimum(reach_of(rest, slopes[some]), reach[some])
            better = radius >= found[some]
            left[some[better]], found[some[better]] = rest[better], radius[better]
            off[some[better]] = np.where(np.isinf(far), 0.0, far)[better]
            share = divide_down(gaps[some], cost + reach[some, None] * slopes[some]).min(1)
            again = radius < 0.5 * reach[some]
            reach[some] *= np.where(known.all(1), 0.5 * share, 2.0**-10)
            some = some[again]
            if not len(some):
                break
        return left, found, off

    def decide(self, outputs: np.ndarray) -> np.ndarray:
        """Classes ``(N,)`` of the deployed model's outputs ``(N, K)``."""
        if outputs.shape[1] > 1:
            return np.asarray(outputs.argmax(1), dtype=np.int64)
        threshold = 0.0 if self.logits == self.graph.output else 0.5
        return (outputs[:, 0] > threshold).astype(np.int64)

    def _deviation(
        self, deployed: np.ndarray, ours: np.ndarray, rounding: np.ndarray, start: int
    ) -> float:
        """Largest relative difference; an error when it cannot be rounding.

        ``rounding (N,)`` is what float32 is known to be off by, 0 where nothing is known.
        """
        if deployed.shape != ours.shape:
            raise InputError(
                self.graph.name, f"ONNX Runtime returns shape {deployed.shape}, not {ours.shape}"
            )
        scale = max(float(np.abs(ours).max(initial=0.0)), 1e-30)
        off = np.abs(deployed - ours).max(1) / scale
        excess = np.where(off <= rounding / scale, 0.0, off)
        worst = int(excess.argmax())
        if not excess[worst] <= DEVIATION:
            raise SoundnessError(
                f"{self.graph.name}, sample {start + worst}",
                f"ONNX Runtime's outputs differ from the graph's by {off[worst]:.2g} relative",
                "the samples of a batch may depend on each other, or lipcert misreads the model; "
                "please report it",
            )
        return float(off.max())

    def _gaps(self, values: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decisions ``(N,)`` of the real-arithmetic logits; how far each other class is behind,
        rounded downward, and its constant, both ``(N, K)``: infinite and 0 for the class itself.

        One logit is decided by its sign, its gap ``(N, 1)`` is its size.
        """
        if values.shape[1] == 1:
            size = np.maximum(np.nextafter(np.abs(values) - error, -np.inf), 0.0)
            decided = (values[:, 0] > 0.0).astype(np.int64)
            return decided, size, np.full_like(size, self.pairwise[0, 0])
        decided = values.argmax(1)
        chosen = values[np.arange(len(values)), decided]
        gaps = chosen[:, None] - values
        slack = mul_up(error, 1.4142135623730952)
        size = np.abs(values).max(1, keepdims=True)
        gaps = np.maximum(gaps - slack - size * 9e-16, 0.0)
        others = np.arange(values.shape[1])[None, :] != decided[:, None]
        return decided, np.where(others, gaps, np.inf), self.pairwise[decided]


def reach_of(gaps: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """The radii ``(N,)`` up to which ``slopes·r`` stays below every gap, rounded downward."""
    return np.asarray(divide_down(gaps, slopes).min(1))


def divide_down(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Lower bounds of ``a / b`` for non-negative a and b; infinite where b is 0 and a is not."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = np.nextafter(a / b, 0.0)
    return np.where(a > 0.0, np.where(b == 0.0, np.inf, quotient), 0.0)


def count_certified(
    radii: np.ndarray,
    eps: Sequence[tuple[float, str]],
    adversarial: np.ndarray | None = None,
    real: np.ndarray | None = None,
) -> tuple[CertifiedAt, ...]:
    """Exact counts of radii above each ε, of attack sizes and radii in real arithmetic too."""
    return tuple(
        CertifiedAt(
            value,
            text,
            int(np.count_nonzero(radii > value)),
            None if adversarial is None else int(np.count_nonzero(adversarial > value)),
            None if real is None else int(np.count_nonzero(real > value)),
        )
        for value, text in eps
    )


def parse_eps(text: str) -> float:
    """An ε such as ``0.5``, ``1e-2`` or ``36/255``, rounded upward.  Raises InputError."""
    from fractions import Fraction

    try:
        numerator, _, denominator = text.partition("/")
        if "/" in denominator:
            raise ValueError(text)
        exact = Fraction(numerator.strip()) / Fraction(denominator.strip() or "1")
        value = float(exact)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(
            f"--eps {text!r}", "is not a number", "write a number or a fraction such as 36/255"
        ) from error
    if Fraction(value) < exact:
        value = math.nextafter(value, math.inf)
    if value < 0.0:
        raise InputError(f"--eps {text!r}", "is negative", "a perturbation has a size of 0 or more")
    return value
