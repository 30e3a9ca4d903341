"""What float32 costs a sample: the checker's bound of rounding, on lipcert's own constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipcert.certification.normalization import Normalization
from lipcert.checker.exact import CheckError
from lipcert.checker.float32 import FARTHEST, rounding
from lipcert.checker.importing import network_of
from lipcert.checker.network import Network
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read
from lipcert.errors import UnsupportedError
from lipcert.graph import Graph
from lipcert.rounding import mul_up

SEMANTICS = ("real", "float32")
MOST_VALUES = 1 << 21
"""Most numbers of one value of the model, over the samples looked at together."""
BATCH = 64

Known = Mapping[str, float]
"""Constants ``‖Δvalue‖/‖Δx‖`` of each value, in l2 and real arithmetic."""


@dataclass(frozen=True, eq=False)
class Float32:
    """Bounds of the rounding of any float32 evaluation, near samples.

    Parameters
    ----------
    network : the certified map, from the data's units on, as the checker reads it.
    known : constants ``‖Δvalue‖/‖Δx‖`` of each value in real arithmetic.
    stretch : the largest l2 norm of a perturbation of size 1.
    """

    network: Network
    known: dict[str, float]
    stretch: float

    @classmethod
    def of(
        cls,
        graph: Graph,
        deployed: str | bytes,
        normalization: Normalization | None,
        known: Known,
        norm: str,
    ) -> Float32:
        """For perturbations of a norm.  Raises UnsupportedError as :func:`checked_network`."""
        network = checked_network(graph, deployed, normalization)
        size = network.sizes[network.input]
        stretch = mul_up(math.sqrt(size), 1.0 + 2.0**-50) if norm == "linf" else 1.0
        return cls(network, dict(known), stretch)

    def bounds(
        self, raw: np.ndarray, reach: np.ndarray, best: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far rounding takes logits, for every perturbation of size up to ``reach (N,)``.

        Bounds ``(N, K)`` of how much closer each logit gets to that of class ``best (N,)``, and
        ``(N,)`` of how far any logit is off; infinite where nothing is known.
        """
        flat = raw.reshape(len(raw), -1)
        widest = max(self.network.sizes.values())
        step = max(1, min(BATCH, MOST_VALUES // widest))
        parts = []
        for start in range(0, len(flat), step):
            chosen = slice(start, start + step)
            far = np.nextafter(reach[chosen] * self.stretch, np.inf)
            far, rows = np.minimum(far, FARTHEST), rows_of(flat[chosen])
            try:
                parts.append(rounding(self.network, rows, self.known, far, best[chosen]))
            except CheckError as error:
                raise uncovered(str(error)) from error
        return np.concatenate([part[0] for part in parts]), np.concatenate(
            [part[1] for part in parts]
        )

    @property
    def farthest(self) -> float:
        """No radius is larger."""
        return FARTHEST / self.stretch * (1.0 - 2.0**-50)


def checked_network(
    graph: Graph, deployed: str | bytes, normalization: Normalization | None
) -> Network:
    """The model behind a normalisation, read by the checker.

    Raises UnsupportedError for an operation that the checker does not cover, or where it reads
    another input or other logits than lipcert.
    """
    if isinstance(deployed, bytes):
        content, folder = deployed, None
    else:
        content, folder = Path(deployed).read_bytes(), Path(deployed).parent
    try:
        network = network_of(read(content, folder), exact_normalization(normalization))
        forward(network, rows_of(np.zeros((1, network.sizes[network.input]))))
    except CheckError as error:
        raise uncovered(str(error), graph.name) from error
    if network.sizes[network.input] != math.prod(graph.sample_shape):
        raise uncovered("its batch axis is not the first one", graph.name)
    if network.beyond:
        raise uncovered(network.beyond, graph.name)
    return network


def exact_normalization(
    normalization: Normalization | None,
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Means and standard deviations as rationals, as many of one as of the other."""
    if normalization is None:
        return (), ()
    most = max(len(normalization.mean), len(normalization.std))
    mean, std = (
        tuple(Fraction(v) for v in (values * most if len(values) == 1 else values))
        for values in (normalization.mean, normalization.std)
    )
    return mean, std


def uncovered(finding: str, place: str = "--semantics float32") -> UnsupportedError:
    """The refusal of a model that float32 is not analysed for."""
    return UnsupportedError(
        place, f"is not covered in float32: {finding}", "certify with --semantics real"
    )
