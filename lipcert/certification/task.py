"""All that a process needs to judge shards: where model and data are, and the constants."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lipcert.certification.attack import Attacker, AttackSettings
from lipcert.certification.certificates import Judge
from lipcert.certification.data import Dataset, check_labels, check_layout, open_dataset
from lipcert.certification.evaluation import RoundedEvaluator
from lipcert.certification.float32 import Float32, Known
from lipcert.certification.normalization import Normalization
from lipcert.certification.runtime import Runtime
from lipcert.certification.shards import ShardJudge
from lipcert.errors import InputError, LipcertError
from lipcert.graph import Graph
from lipcert.head import logits_of
from lipcert.onnx_import import load_graph
from lipcert.operators import Shape
from lipcert.versions import versions


@dataclass(frozen=True)
class DataSource:
    """What :func:`~lipcert.certification.data.open_dataset` was called with."""

    path: str
    labels: str | None = None
    pixel_range: tuple[float, float] = (0.0, 1.0)
    first: int | None = None

    def open(self) -> Dataset:
        """The data set, cut to its first samples where that was asked for."""
        dataset = open_dataset(self.path, labels=self.labels, pixel_range=self.pixel_range)
        return dataset if self.first is None else dataset.first(self.first)

    def absolute(self) -> DataSource:
        """The same for a process in another folder."""
        labels = None if self.labels is None else str(Path(self.labels).absolute())
        return replace(self, path=str(Path(self.path).absolute()), labels=labels)


@dataclass(frozen=True)
class Rules:
    """How samples are judged, whatever the process.

    Parameters
    ----------
    norm, eps : of the attack.
    normalization : before the model, part of the certified map.
    input_range : lowest and highest valid value, None for any.
    attack : how samples are attacked, None for not at all.
    """

    norm: str
    eps: tuple[float, ...]
    normalization: Normalization | None
    input_range: tuple[float, float] | None
    attack: AttackSettings | None
    device: str = "cpu"

    def certified(self, graph: Graph) -> Graph:
        """The certified map: from the data's units to the model's outputs."""
        return graph if self.normalization is None else self.normalization.before(graph)

    def preparation(self, graph: Graph) -> Callable[[np.ndarray], np.ndarray]:
        """From raw samples to what the deployed model is fed."""
        normalization = self.normalization
        if normalization is None:
            return lambda raw: raw
        return lambda raw: normalization.apply(raw, graph.sample_shape)

    def judge_of(
        self,
        graph: Graph,
        deployed: str | bytes,
        dataset: Dataset,
        pairwise: np.ndarray,
        *,
        threads: int = 0,
        known: Known | None = None,
    ) -> ShardJudge:
        """What judges shards of a data set under constants ``(K, K)``; for any float32 evaluation
        where constants around the model's values are ``known``."""
        float32 = None
        if known is not None:
            float32 = Float32.of(graph, deployed, self.normalization, known, self.norm)
        certified = self.certified(graph).to(torch.device(self.device))
        judge = Judge(
            RoundedEvaluator(certified),
            logits_of(certified),
            pairwise,
            Runtime(
                graph,
                deployed,
                output=graph.file_output,
                threads=threads,
                as_written=float32 is not None,
            ),
            self.preparation(graph),
            float32,
        )
        attacker = None
        if self.attack is not None:
            attacker = Attacker(judge, self.norm, self.eps, self.attack, self.input_range)
        labels = check_labels(dataset, graph.outputs)
        return ShardJudge(judge, dataset, labels, self.input_range, attacker)


@dataclass(frozen=True, eq=False)
class Task:
    """A run, as it is sent to another process, on this machine or another one.

    Model and data are opened there by the same paths, and refused where they are not the same.

    Parameters
    ----------
    model, input_shape, output : what the graph is loaded with.
    model_sha256, data_signature : what must be found there.
    pairwise : ``(K, K)`` proven constants.
    known : constants around values, where radii are to hold for any float32 evaluation.
    """

    model: str
    model_sha256: str
    input_shape: Shape | None
    output: str | None
    data: DataSource
    data_signature: str
    rules: Rules
    pairwise: np.ndarray
    versions: dict[str, str]
    known: Known | None = None

    def open(self) -> ShardJudge:
        """What judges the shards.  Raises InputError where something is not as it was."""
        try:
            return self._opened()
        except LipcertError as error:
            place = f"worker on {socket.gethostname()}, {error.place}"
            raise type(error)(place, error.finding, error.remedy) from error

    def _opened(self) -> ShardJudge:
        found = versions()
        if found != self.versions:
            differing = [name for name in found if found[name] != self.versions.get(name)]
            raise InputError(
                "versions", f"differ in {', '.join(differing)}", "install the same everywhere"
            )
        graph = load_graph(self.model, input_shape=self.input_shape, output=self.output)
        if graph.sha256 != self.model_sha256:
            raise InputError(graph.name, "is not the file that it is elsewhere", "copy it again")
        dataset = self.data.open()
        if dataset.signature() != self.data_signature:
            raise InputError(dataset.name, "are not the data that they are elsewhere", "copy them")
        check_layout(dataset, graph.sample_shape)
        return self.rules.judge_of(
            graph, graph.source, dataset, self.pairwise, threads=1, known=self.known
        )
