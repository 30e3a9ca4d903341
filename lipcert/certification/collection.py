"""The results of all shards put together, in whatever order they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipcert.certification.data import Dataset
from lipcert.certification.result import Example
from lipcert.certification.shards import RefutedError, ShardResult

EXAMPLES = 8
"""Most samples shown at each end."""
LEAST_SIDE = 4
"""Pixels of a side from which an array is taken for an image."""


class Collection:
    """Per-sample arrays of a whole data set, ``(samples,)``, filled shard by shard."""

    def __init__(
        self, samples: int, *, scored: bool, attacked: bool, float32: bool = False
    ) -> None:
        self.predictions = np.zeros(samples, dtype=np.int64)
        self.margins = np.zeros(samples)
        self.radii = np.zeros(samples)
        self.values = np.zeros(samples) if scored else None
        self.adversarial = np.zeros(samples) if attacked else None
        self.real = np.zeros(samples) if float32 else None
        self.error = 0.0
        self.disagreements = 0
        self.deviation = 0.0
        self.rounded = 0
        self.done = 0

    def add(self, result: ShardResult, model: str) -> None:
        """Enter a shard.  Raises RefutedError where the attack contradicts a radius."""
        if result.witness is not None:
            raise RefutedError(model, result.witness)
        place, judged = slice(result.shard.start, result.shard.stop), result.judged
        self.predictions[place] = judged.predictions
        self.margins[place] = judged.margins
        self.radii[place] = judged.radii
        if self.values is not None:
            self.values[place] = judged.values
        if self.real is not None:
            self.real[place] = judged.real
        if self.adversarial is not None:
            self.adversarial[place] = result.adversarial
        self.error = max(self.error, judged.error)
        self.disagreements += judged.disagreements
        self.deviation = max(self.deviation, judged.deviation)
        self.rounded += result.rounded
        self.done += len(result.shard)

    def extremes(self, labels: np.ndarray) -> tuple[list[int], list[int]]:
        """Indices of the smallest positive radii and of the largest, the extreme ones first."""
        certified = np.flatnonzero((self.radii > 0.0) & (self.predictions == labels))
        order = certified[np.argsort(self.radii[certified], kind="stable")]
        count = min(EXAMPLES, (len(order) + 1) // 2)
        most = min(EXAMPLES, len(order) - count)
        return order[:count].tolist(), order[::-1][:most].tolist()

    def examples(
        self, indices: Sequence[int], labels: np.ndarray, dataset: Dataset
    ) -> tuple[Example, ...]:
        """The samples at these indices; read in the order of the data."""
        pixels = {
            index: image_of(dataset.read(index, index + 1)[0]) if _may_be_image(dataset) else None
            for index in sorted(indices)
        }
        return tuple(
            Example(
                index,
                int(labels[index]),
                int(self.predictions[index]),
                float(self.radii[index]),
                pixels[index],
            )
            for index in indices
        )


def _may_be_image(dataset: Dataset) -> bool:
    return image_of(np.empty(dataset.shape, dtype=np.uint8)) is not None


def image_of(sample: np.ndarray) -> np.ndarray | None:
    """A sample as ``(1 or 3, height, width)`` where its shape is that of an image."""
    if sample.ndim == 2:
        sample = sample[None]
    if sample.ndim == 3 and sample.shape[0] not in (1, 3) and sample.shape[2] in (1, 3):
        sample = sample.transpose(2, 0, 1)
    if sample.ndim != 3 or sample.shape[0] not in (1, 3) or min(sample.shape[1:]) < LEAST_SIDE:
        return None
    return sample
