"""What a certification run found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lipcert.bounds.result import LipschitzBound, ProofFacts
from lipcert.display import Tabular

if TYPE_CHECKING:
    from lipcert.certification.attack import AttackSettings
    from lipcert.certification.scores import Scores
    from lipcert.inspection import Layer


@dataclass(frozen=True)
class CertifiedAt:
    """How many samples are certified at one ε, and how many an attack of that size leaves.

    ``eps_text`` is ε as it was written (such as ``36/255``), ``count`` the samples that are
    correct and whose radius exceeds ε, ``attacked`` the correct samples for which the attack
    found nothing of norm ε or less; None without an attack.  The true robust accuracy lies
    between the two.  ``real`` is the count in real arithmetic, where ``count`` is for any float32
    evaluation; else None.
    """

    eps: float
    eps_text: str
    count: int
    attacked: int | None = None
    real: int | None = None


@dataclass(frozen=True)
class RadiusStatistics:
    """Statistics of the radii, wrong predictions counting as zero, in the data's own units."""

    mean: float
    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True, eq=False)
class Example:
    """One sample shown in reports: ``pixels`` is ``(channels, height, width)`` or None."""

    index: int
    label: int
    prediction: int
    radius: float
    pixels: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Certificates(Tabular):
    """Radii of a data set under a proven bound.

    Parameters
    ----------
    samples, clean_correct : exact counts.
    certified : one entry per ε, in the order asked for.
    radii : ``(samples,)``; no perturbation of smaller norm changes a correct prediction, 0 where
        the prediction is wrong.
    predictions, labels : ``(samples,)``, predictions being ONNX Runtime's.
    margins : ``(samples,)``, proven differences of the two highest logits (or ``|y|``).
    bound : the Lipschitz bound behind the radii, pairwise constants included.
    disagreements : samples that ONNX Runtime and real arithmetic classify differently; they
        have radius 0.
    norm : of the perturbation; ``units`` says in what it is measured.
    adversarial : ``(samples,)``, norm (rounded upward) of the smallest perturbation found that
        changes a correct prediction, infinite where none was found, 0 where the prediction is
        wrong already; None without an attack.
    attack : how the attack was run, ``rounded`` the samples whose class float32 rounding alone
        changed inside the radius.
    scores : for a model with one output, what its values certify.
    layers : the model's layers and their norms.
    worst, best : the samples of the smallest radius above 0, and of the largest.
    command : the command that gives this result.
    semantics : "real", or "float32" where radii and margins hold for any float32 evaluation;
        ``real_radii`` ``(samples,)`` are then those in real arithmetic.
    proof : what the proof file holds that was made, None where none was asked for; ``proved`` are
        the samples that it certifies at each ε.
    """

    samples: int
    clean_correct: int
    certified: tuple[CertifiedAt, ...]
    radii: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray
    margins: np.ndarray
    bound: LipschitzBound
    disagreements: int
    norm: str
    units: str
    data: str
    data_sha256: str
    seconds: float
    normalization: dict[str, tuple[float, ...]] | None = None
    input_range: tuple[float, float] | None = None
    largest_deviation: float = 0.0
    adversarial: np.ndarray | None = None
    attack: AttackSettings | None = None
    rounded: int = 0
    scores: Scores | None = None
    layers: tuple[Layer, ...] = ()
    worst: tuple[Example, ...] = ()
    best: tuple[Example, ...] = ()
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    semantics: str = "real"
    real_radii: np.ndarray | None = None
    proof: ProofFacts | None = None
    proved: tuple[int, ...] = ()

    @property
    def radius(self) -> RadiusStatistics:
        """Mean, median, smallest and largest radius."""
        radii = np.minimum(self.radii, np.finfo(np.float64).max)
        if not len(radii):
            return RadiusStatistics(math.nan, math.nan, math.nan, math.nan)
        mean = float(np.mean(self.radii)) if np.isfinite(self.radii).all() else math.inf
        return RadiusStatistics(
            mean, float(np.median(radii)), float(radii.min()), float(self.radii.max())
        )

    @property
    def clean_accuracy(self) -> float:
        """Share of correct predictions."""
        return self.clean_correct / self.samples

    def certified_accuracy(self, eps: float) -> float:
        """Share of samples that are correct with a radius above ``eps``."""
        return int(np.count_nonzero(self.radii > eps)) / self.samples

    def __str__(self) -> str:
        lines = [
            f"{self.bound.model} on {self.data}: {self.samples} samples, "
            f"{self.clean_correct} correct ({self.clean_accuracy:.1%})"
        ]
        for entry in self.certified:
            attacked = "" if entry.attacked is None else f", attack leaves {entry.attacked}"
            lines.append(
                f"  certified at {entry.eps_text} ({self.norm}): {entry.count}/{self.samples} "
                f"({entry.count / self.samples:.1%}){attacked}"
            )
        return "\n".join(lines)
