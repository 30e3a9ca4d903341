"""Judging all shards of a data set: here, by processes, or by a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipcert.certification.data import Dataset
from lipcert.certification.execution import judged_by_cluster, judged_by_processes
from lipcert.certification.float32 import Known
from lipcert.certification.journal import Journal
from lipcert.certification.shards import Shard, ShardResult, shards_of
from lipcert.certification.task import DataSource, Task
from lipcert.certifying.settings import Settings
from lipcert.errors import InputError
from lipcert.graph import Affine, Graph
from lipcert.versions import versions

AUTO = "auto"
WORTH_PROCESSES = 5e10
"""Multiplications from which "auto" takes processes: some ten times what starting them costs."""


@dataclass(frozen=True, eq=False)
class Work:
    """A data set to be judged.

    Parameters
    ----------
    deployed : path or bytes of what ONNX Runtime runs.
    source : what the data were opened with, None for arrays in memory.
    pairwise : ``(K, K)`` proven constants; ``known`` those around values, for float32.
    workers : number of processes, 0 for this one, or "auto".
    cluster : address of a Dask scheduler, or None.
    """

    graph: Graph
    deployed: str | bytes
    dataset: Dataset
    source: DataSource | None
    settings: Settings
    pairwise: np.ndarray
    workers: int | str
    cluster: str | None
    known: Known | None = None

    def results(self, journal: Journal | None) -> Iterator[ShardResult]:
        """The results of all shards: first those in the journal, which gets the others."""
        attacked = self.settings.attack is not None
        shards = shards_of(len(self.dataset), attacked=attacked)
        done = {} if journal is None else journal.results
        yield from (done[shard] for shard in shards if shard in done)
        for result in self._judged([shard for shard in shards if shard not in done]):
            if journal is not None:
                journal.add(result)
            yield result

    def _judged(self, shards: Sequence[Shard]) -> Iterator[ShardResult]:
        workers = self._processes()
        if not shards:
            return
        if self.cluster is not None:
            yield from judged_by_cluster(self._task("--cluster"), shards, self.cluster)
        elif workers:
            yield from judged_by_processes(self._task("--workers"), shards, workers)
        else:
            judge = self.settings.rules.judge_of(
                self.graph, self.deployed, self.dataset, self.pairwise, known=self.known
            )
            yield from map(judge.run, shards)

    def _processes(self) -> int:
        if self.workers != AUTO:
            count = int(self.workers)
            if count < 0:
                raise InputError("--workers", f"{count} is not a number of processes")
            return count
        in_files = self.source is not None and isinstance(self.deployed, str)
        large = self._multiplications() > WORTH_PROCESSES and self.settings.rules.device == "cpu"
        return _cores() if large and in_files else 0

    def _multiplications(self) -> float:
        """Those of all evaluations, roughly: a gradient costs three."""
        one = sum(
            node.operation.operator.cost
            for node in self.graph.nodes
            if isinstance(node.operation, Affine)
        )
        attack = self.settings.attack
        steps = 0 if attack is None else attack.steps * attack.restarts * len(self.settings.eps)
        return one * len(self.dataset) * (1 + 3 * steps)

    def _task(self, option: str) -> Task:
        if self.source is None or isinstance(self.deployed, bytes):
            raise InputError(option, "needs model and data in files", "save them, or leave it out")
        return Task(
            str(Path(self.deployed).absolute()),
            self.graph.sha256,
            self.settings.input_shape,
            self.settings.output,
            self.source.absolute(),
            self.dataset.signature(),
            self.settings.rules,
            self.pairwise,
            versions(),
            self.known,
        )


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
