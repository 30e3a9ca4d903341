"""Proof files of certificates: claims of the model, and every sample's class, margin and radius."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipcert.bounds.context import Progress, silent
from lipcert.bounds.result import ProofFacts
from lipcert.certification.certificates import reach_of
from lipcert.certification.data.files import Stamp
from lipcert.certification.float32 import exact_normalization
from lipcert.certification.normalization import Normalization
from lipcert.certification.result import Certificates
from lipcert.checker.certificates import BATCH, judged
from lipcert.checker.exact import CheckError, mul
from lipcert.checker.file import FORMAT, Samples
from lipcert.checker.float32 import FARTHEST
from lipcert.checker.importing import network_of
from lipcert.checker.positive import Refuted
from lipcert.checker.proof import Checker
from lipcert.checker.samples import read_samples
from lipcert.errors import InputError, UnsupportedError
from lipcert.proof import network_claims
from lipcert.proof.writing import proof_file, read

ROUNDS = 4
"""How often radii are made smaller until they are shown as they are told."""
ROOM = 2.0**-30
"""Share of what rounding takes that is left for machines that add up in another order."""


@dataclass(frozen=True, eq=False)
class CertificateProof:
    """A proof file of certificates.

    Parameters
    ----------
    content : bytes of the file; ``facts`` about the constant in it.
    radii : ``(samples,)``, those that it proves, none above those reported.
    about : the model and the data.
    """

    content: bytes
    facts: ProofFacts
    radii: np.ndarray
    about: tuple[Path, Path]

    def told(self, found: Certificates, file: str | Path = "") -> Certificates:
        """The certificates with what the proof shows of them, and in what file it is, if any."""
        right = found.predictions == found.labels
        counts = (np.count_nonzero(right & (self.radii > at.eps)) for at in found.certified)
        facts = self.facts.named(file, *self.about) if file else self.facts
        return replace(found, proof=facts, proved=tuple(int(count) for count in counts))


def check_provable(data: str | Path, norm: str) -> None:
    """Refuse what no proof file is about.  Raises InputError."""
    if norm != "l2":
        raise InputError("--proof", f"covers the l2 norm, not {norm}", "use --norm l2")
    if Path(data).suffix != ".npz":
        raise InputError("--proof", f"covers .npz data, not {Path(data).name}", "save it as .npz")


def prove_certificates(
    model: str | Path,
    data: str | Path,
    found: Certificates,
    *,
    time_limit: float = 30.0,
    progress: Progress = silent,
) -> CertificateProof:
    """A proof of what ``certify`` found, for ``lipcert check``.

    Every claim has been put before the checker's own code; radii and margins are the smaller of
    what was reported and what the checker finds.

    Raises
    ------
    InputError : data that no proof covers.
    UnsupportedError : a model that the checker does not cover, in its own words.
    """
    check_provable(data, found.norm)
    began = time.perf_counter()
    try:
        return _proved(Path(model), Path(data), found, time_limit, progress, began)
    except (CheckError, Refuted) as error:
        raise UnsupportedError(
            Path(model).name, f"no proof file can be made: {error}", "leave out --proof"
        ) from error


def _proved(
    model: Path,
    data: Path,
    found: Certificates,
    time_limit: float,
    progress: Progress,
    began: float,
) -> CertificateProof:
    table = found.normalization
    normalization = None if table is None else Normalization(table["mean"], table["std"])
    mean, std = exact_normalization(normalization)
    stamps = [Stamp.of(path) for path in (model, data)]
    source = read(model)
    if not source.beside and source.sha256 != found.bound.model_sha256:
        raise InputError(model.name, "is not the model that was certified", "certify it again")
    network = network_of(source.file, (mean, std))
    own = network_claims(
        network,
        network.logits,
        pairs=True,
        values=found.semantics == "float32",
        known=found.bound.value,
        ready=found.bound.multipliers,
        time_limit=time_limit,
        progress=progress,
    )
    claims, checker = list(own.claims), own.checker
    if found.semantics == "float32":
        checker = Checker(network)  # of every value it knows what the claims in the file prove
        checker.run(claims)
    constant = checker.proved(network.logits)
    samples = _samples(checker, data, found, mean, std, progress)
    for stamp in stamps:
        stamp.check()
    content = proof_file(
        source, network.logits, constant, claims, semantics=found.semantics, samples=samples
    )
    digest = hashlib.sha256(content).hexdigest()
    seconds = time.perf_counter() - began
    facts = ProofFacts(constant, own.method, len(claims), len(content), digest, seconds, FORMAT)
    return CertificateProof(content, facts, samples.radii, (model, data))


def _samples(
    checker: Checker,
    data: Path,
    found: Certificates,
    mean: tuple[Fraction, ...],
    std: tuple[Fraction, ...],
    progress: Progress,
) -> Samples:
    """What the checker's own evaluation shows of every sample."""
    rows = read_samples(data)
    count = found.samples
    margins, radii = np.zeros(count), np.zeros(count)
    for start in range(0, count, BATCH):
        progress("proof of the samples", start / count)
        chosen = slice(start, min(start + BATCH, count))
        best, radius, margin = _settled(checker, rows[chosen], found, chosen)
        agreed = best == found.predictions[chosen]
        radii[chosen] = np.where(agreed, radius, 0.0)
        margins[chosen] = np.where(agreed, np.minimum(margin, found.margins[chosen]), 0.0)
    sha256 = hashlib.sha256(data.read_bytes()).hexdigest()
    return Samples(sha256, mean, std, found.predictions, margins, radii)


def _settled(
    checker: Checker, samples: np.ndarray, found: Certificates, chosen: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, radii and margins ``(N,)`` that the checker finds when it is told these radii."""
    reach = np.minimum(found.radii[chosen], FARTHEST)
    for _ in range(ROUNDS):
        best, behind, slope = judged(checker, samples, found.semantics, reach, ROOM)
        radius = np.minimum(reach_of(behind, slope), reach)
        for _ in range(8):  # products are rounded upward where they are checked
            short = (mul(radius[:, None], slope) > behind).any(1)
            radius = np.where(short, radius * (1.0 - 2.0**-50), radius)
        radius = np.where((mul(radius[:, None], slope) > behind).any(1), 0.0, radius)
        if found.semantics == "real" or (radius == reach).all():
            return best, radius, behind.min(1)
        told, reach = reach, radius
    shown = reach == told
    return best, np.where(shown, reach, 0.0), np.where(shown, behind.min(1), 0.0)
