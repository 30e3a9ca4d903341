"""A data set in shards: what is judged at once, anywhere, and what was found about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipcert.certification.attack import Attacker
from lipcert.certification.certificates import Judge, Judged
from lipcert.certification.data import Dataset, check_range
from lipcert.errors import SoundnessError

SHARD, ATTACKED_SHARD = 256, 64
"""Samples of a shard, without and with an attack.  Shards are cut at its multiples wherever they
run, so that a sample is always evaluated beside the same others and gets the same bits."""


@dataclass(frozen=True, order=True)
class Shard:
    """Samples ``start`` to ``stop``, the last not included."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def shards_of(samples: int, *, attacked: bool = False) -> tuple[Shard, ...]:
    """A data set cut into shards, in order."""
    size = ATTACKED_SHARD if attacked else SHARD
    starts = range(0, samples, size)
    return tuple(Shard(start, min(start + size, samples)) for start in starts)


@dataclass(frozen=True, eq=False)
class Witness:
    """A perturbation inside a certified radius that changes the class all the same.

    Parameters
    ----------
    index, label : of the sample, counted from 0.
    sample, perturbed : ``sample_shape``, in the data's units.
    size : norm of their difference, rounded upward.
    radius : the radius that was certified.
    """

    index: int
    label: int
    sample: np.ndarray
    perturbed: np.ndarray
    size: float
    radius: float

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file of it holds: both samples as batches of one."""
        return {
            "x": self.sample[None],
            "y": np.array([self.label]),
            "perturbed": self.perturbed[None],
            "index": np.array(self.index),
            "size": np.array(self.size),
            "radius": np.array(self.radius),
        }


class RefutedError(SoundnessError):
    """A certified radius that a perturbation refutes; ``witness`` has it."""

    def __init__(self, model: str, witness: Witness) -> None:
        super().__init__(
            f"{model}, sample {witness.index}",
            f"a perturbation of size {witness.size:.6g} changes the class inside the certified "
            f"radius {witness.radius:.6g}",
            "please report it with the witness and the model",
        )
        self.witness = witness


@dataclass(frozen=True, eq=False)
class ShardResult:
    """What was found about the samples of one shard.

    Parameters
    ----------
    judged : their predictions, margins and radii.
    adversarial : ``(samples,)``, sizes that the attack found, None without one.
    rounded : samples whose class only the rounding of ONNX Runtime changed inside the radius.
    witness : the first contradiction of a radius, None if there is none.
    """

    shard: Shard
    judged: Judged
    adversarial: np.ndarray | None = None
    rounded: int = 0
    witness: Witness | None = None


@dataclass(frozen=True, eq=False)
class ShardJudge:
    """What judges the shards of one data set.

    Parameters
    ----------
    labels : ``(samples,)``, class indices.
    input_range : lowest and highest valid value, None for any.
    attacker : what attacks every sample, None for nothing.
    """

    judge: Judge
    dataset: Dataset
    labels: np.ndarray
    input_range: tuple[float, float] | None = None
    attacker: Attacker | None = None

    def run(self, shard: Shard) -> ShardResult:
        """Judge, and attack, the samples of one shard.

        Raises InputError for data that cannot be used, SoundnessError where ONNX Runtime and
        the certified evaluation cannot be the same model.
        """
        raw = self.dataset.read(shard.start, shard.stop)
        x = raw.reshape(len(shard), *self.judge.graph.sample_shape)
        if self.input_range is not None:
            check_range(x, *self.input_range, first=shard.start)
        labels = self.labels[shard.start : shard.stop]
        judged = self.judge.judge(x, labels, first=shard.start)
        if self.attacker is None:
            return ShardResult(shard, judged)
        return self._attacked(shard, judged, x, labels, self.attacker)

    def _attacked(
        self,
        shard: Shard,
        judged: Judged,
        x: np.ndarray,
        labels: np.ndarray,
        attacker: Attacker,
    ) -> ShardResult:
        correct = judged.predictions == labels
        attacked = attacker.attack(x, labels, correct, judged.radii, first=shard.start)
        inside = np.flatnonzero(attacked.sizes < judged.radii)
        witness = None
        if len(inside):
            one = int(inside[0])
            witness = Witness(
                shard.start + one,
                int(labels[one]),
                x[one],
                attacked.points[one],
                float(attacked.sizes[one]),
                float(judged.radii[one]),
            )
        rounded = int(np.count_nonzero(attacked.rounded))
        return ShardResult(shard, judged, attacked.sizes, rounded, witness)
