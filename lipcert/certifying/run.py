"""``certify``: from model and data to certificates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lipcert.api import loaded
from lipcert.bounds.context import Progress, silent
from lipcert.certification.attack import AttackSettings
from lipcert.certification.certificates import count_certified
from lipcert.certification.collection import Collection
from lipcert.certification.data import (
    Dataset,
    check_labels,
    check_layout,
    check_range,
    dataset_of_arrays,
)
from lipcert.certification.data.files import Stamp
from lipcert.certification.execution import check_cluster
from lipcert.certification.float32 import checked_network
from lipcert.certification.journal import Journal
from lipcert.certification.normalization import Normalization
from lipcert.certification.result import Certificates
from lipcert.certification.scores import Scores, scores_of
from lipcert.certification.shards import SHARD
from lipcert.certification.task import DataSource
from lipcert.certifying.proved import Proved, prove
from lipcert.certifying.settings import Settings
from lipcert.certifying.work import Work
from lipcert.errors import InputError
from lipcert.graph import Graph
from lipcert.operators import Shape
from lipcert.versions import versions

if TYPE_CHECKING:
    from lipcert.api import Model

    Data = str | Path | Dataset | tuple[np.ndarray, np.ndarray]


def certify(
    model: Model,
    data: Data,
    *,
    eps: Sequence[float | str] = (),
    norm: str = "l2",
    semantics: str = "real",
    method: str = "auto",
    spectral: str = "auto",
    labels: str | Path | None = None,
    normalize: str | Normalization | None = None,
    input_range: tuple[float, float] | None = None,
    pixel_range: tuple[float, float] = (0.0, 1.0),
    first: int | None = None,
    attack: bool | AttackSettings = False,
    details: bool = False,
    workers: int | str = 0,
    cluster: str | None = None,
    resume: str | Path | None = None,
    device: str = "cpu",
    time_limit: float = 30.0,
    solver: str = "hkm",
    input_shape: Shape | None = None,
    output: str | None = None,
    progress: Progress = silent,
) -> Certificates:
    """A certified radius for every sample of a data set.

    No perturbation of ``norm`` smaller than a sample's radius changes its predicted class, in
    real arithmetic on the weights that the file holds or for any float32 evaluation of them.

    Parameters
    ----------
    data : path of a data set (a file or folder of a known format), a data set, or arrays
        ``(x, y)``.
    eps : perturbation sizes at which to count, numbers or text such as "36/255".
    semantics : "real", or "float32": radii hold for every IEEE-754 float32 evaluation, in any
        order of summation, with or without fused multiply-add; those in real arithmetic are
        told beside them.
    labels : path of the labels, for samples without.
    normalize : "mean=…,std=…" applied to the data before the model and certified with it.
    input_range : lowest and highest valid value; data outside is an error.
    pixel_range : what the pixels 0 and 255 of image files become.
    first : only that many samples from the start.
    attack : attack every correct sample at every ε; True for the default settings.
    details : also the layers, and the samples of the smallest and largest radii: for reports.
    workers : processes that judge the samples; 0 for none beside this one, "auto" for one a
        core where there are many samples.  Scripts that take any must guard their main part
        with ``if __name__ == "__main__"``.
    cluster : address of a Dask scheduler whose workers judge the samples.
    resume : a journal file; what it holds of this run is not done again.

    Other parameters as for :func:`bound`.  Raises InputError for unusable data or options,
    UnboundedError where the model has no finite bound, UnsupportedError for a model that is not
    covered in float32, NothingEvaluatedError for no samples, InputError for a file of model or
    data that was written to or replaced meanwhile,
    RefutedError (a SoundnessError) where the attack contradicts a radius, WorkerError where
    processes or machines are lost again and again.
    """
    started = time.perf_counter()
    settings = Settings.read(
        eps=eps,
        norm=norm,
        semantics=semantics,
        method=method,
        spectral=spectral,
        labels=labels,
        normalize=normalize,
        input_range=input_range,
        pixel_range=pixel_range,
        first=first,
        attack=attack,
        device=device,
        time_limit=time_limit,
        solver=solver,
        input_shape=input_shape,
        output=output,
    )
    path = Path(model) if isinstance(model, str | Path) else None
    stamp = Stamp.of(path) if path is not None and path.is_file() else None
    graph, deployed = loaded(model, input_shape, output)
    if not deployed:
        raise InputError(graph.name, "has no file that ONNX Runtime could run", "certify a path")
    source, dataset = _opened(data, settings)
    with ExitStack() as stack:
        stack.callback(dataset.close)
        run = Run(graph, deployed, dataset, source, settings, details, workers, cluster, progress)
        run.check()
        journal = None
        if resume is not None:
            journal = stack.enter_context(Journal(Path(resume), run.identity()))
        proved = run.proved(journal)
        found = run.judged(proved, journal)
        dataset.check_unchanged()
        if stamp is not None:
            stamp.check()
        command = settings.command(
            str(model) if isinstance(model, str | Path) else "", source.path if source else ""
        )
        return run.certificates(proved, found, command, time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class Run:
    """A certification with everything opened; the parameters are those of :func:`certify`."""

    graph: Graph
    deployed: str | bytes
    dataset: Dataset
    source: DataSource | None
    settings: Settings
    details: bool
    workers: int | str
    cluster: str | None
    progress: Progress

    def check(self) -> None:
        """Refuse what cannot work before anything is computed."""
        check_layout(self.dataset, self.graph.sample_shape)
        _ = self.labels
        if self.settings.semantics == "float32":
            checked_network(self.graph, self.deployed, self.settings.normalization)
        if self.cluster is not None:
            check_cluster(self.cluster)
        if self.settings.input_range is not None:
            first = self.dataset.read(0, min(SHARD, len(self.dataset)))
            check_range(first, *self.settings.input_range)

    @cached_property
    def labels(self) -> np.ndarray:
        """Class indices, ``(samples,)``."""
        return check_labels(self.dataset, self.graph.outputs)

    @cached_property
    def data_sha256(self) -> str:
        """Digest of the data."""
        return self.dataset.digest()

    def identity(self) -> dict[str, Any]:
        """What must be the same for a journal to be of this run."""
        return {
            "model": self.graph.sha256,
            "data": self.data_sha256,
            "details": self.details,
            **self.settings.identity(),
            "versions": versions(),
        }

    def proved(self, journal: Journal | None) -> Proved:
        """The bound: from the journal, or found and entered there."""
        if journal is not None and journal.proved is not None:
            return Proved.of_record(journal.proved)
        proved = prove(
            self.graph,
            self.deployed,
            self.settings,
            details=self.details,
            progress=self.progress,
        )
        if journal is not None:
            journal.prove(proved.record())
        return proved

    def judged(self, proved: Proved, journal: Journal | None) -> Collection:
        """The results of all samples.  Raises RefutedError where an attack contradicts one."""
        table = proved.bound.pairwise if self.graph.outputs > 1 else [[proved.bound.value]]
        work = Work(
            self.graph,
            self.deployed,
            self.dataset,
            self.source,
            self.settings,
            np.asarray(table, dtype=np.float64),
            self.workers,
            self.cluster,
            proved.known,
        )
        attacked = self.settings.attack is not None
        doing = "certifying and attacking" if attacked else "certifying"
        samples = len(self.dataset)
        found = Collection(
            samples,
            scored=self.graph.outputs == 1,
            attacked=attacked,
            float32=proved.known is not None,
        )
        for result in work.results(journal):
            found.add(result, self.graph.name)
            self.progress(doing, found.done / samples)
        return found

    def certificates(
        self, proved: Proved, found: Collection, command: str, seconds: float
    ) -> Certificates:
        """Everything put together."""
        settings, labels = self.settings, self.labels
        normalization = settings.normalization
        worst, best = found.extremes(labels) if self.details else ([], [])
        return Certificates(
            samples=len(self.dataset),
            clean_correct=int(np.count_nonzero(found.predictions == labels)),
            certified=count_certified(found.radii, settings.eps, found.adversarial, found.real),
            radii=found.radii,
            predictions=found.predictions,
            labels=labels,
            margins=found.margins,
            bound=proved.bound,
            disagreements=found.disagreements,
            norm=settings.norm,
            units="the data's own units",
            data=self.dataset.name,
            data_sha256=self.data_sha256,
            seconds=seconds,
            normalization=None if normalization is None else normalization.table,
            input_range=settings.input_range,
            largest_deviation=found.deviation,
            adversarial=found.adversarial,
            attack=settings.attack,
            rounded=found.rounded,
            scores=self._scores(proved, found),
            layers=proved.layers,
            worst=found.examples(worst, labels, self.dataset),
            best=found.examples(best, labels, self.dataset),
            command=command,
            versions=versions(),
            semantics=settings.semantics,
            real_radii=found.real,
        )

    def _scores(self, proved: Proved, found: Collection) -> Scores | None:
        if found.values is None or found.real is not None:
            return None  # what scores certify is worked out for real arithmetic
        constant, eps = proved.bound.value, self.settings.eps
        return scores_of(found.values, self.labels, constant, eps, error=found.error)


def _opened(data: Data, settings: Settings) -> tuple[DataSource | None, Dataset]:
    """The data set, and how another process opens it; None for one that is in memory."""
    if isinstance(data, str | Path):
        source = DataSource(str(data), settings.labels, settings.pixel_range, settings.first)
        return source, source.open()
    dataset = data if isinstance(data, Dataset) else dataset_of_arrays(*data)
    return None, dataset if settings.first is None else dataset.first(settings.first)
