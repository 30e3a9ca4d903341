"""Certifying a data set: the Python API's ``certify``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipcert.api import bound, chosen_device, loaded
from lipcert.bounds.context import Progress, silent
from lipcert.certification.certificates import Judge, count_certified, parse_eps
from lipcert.certification.data import (
    Dataset,
    check_labels,
    check_layout,
    check_range,
    load_dataset,
)
from lipcert.certification.evaluation import RoundedEvaluator
from lipcert.certification.normalization import Normalization
from lipcert.certification.result import Certificates
from lipcert.certification.runtime import Runtime
from lipcert.errors import InputError, NothingEvaluatedError, UnboundedError
from lipcert.head import logits_of
from lipcert.operators import Shape
from lipcert.versions import versions

if TYPE_CHECKING:
    from lipcert.api import Model


def certify(
    model: Model,
    data: str | Path | Dataset | tuple[np.ndarray, np.ndarray],
    *,
    eps: Sequence[float | str] = (),
    norm: str = "l2",
    method: str = "auto",
    spectral: str = "auto",
    labels: str | Path | None = None,
    normalize: str | Normalization | None = None,
    input_range: tuple[float, float] | None = None,
    device: str = "cpu",
    time_limit: float = 30.0,
    solver: str = "hkm",
    lower_seconds: float = 0.0,
    input_shape: Shape | None = None,
    output: str | None = None,
    progress: Progress = silent,
) -> Certificates:
    """A certified radius for every sample of a data set.

    No perturbation of ``norm`` smaller than a sample's radius changes its predicted class, in
    real arithmetic on the weights that the file holds.

    Parameters
    ----------
    data : path of an ``.npz``, ``.npy`` or ``.csv`` file, a data set, or arrays ``(x, y)``.
    eps : perturbation sizes at which to count, numbers or text such as "36/255".
    labels : path of the labels, for ``.npy`` samples.
    normalize : "mean=…,std=…" applied to the data before the model and certified with it.
    input_range : lowest and highest valid value; data outside is an error.

    Other parameters as for :func:`bound`.  Raises InputError for unusable data or options,
    UnboundedError where the model has no finite bound, NothingEvaluatedError for no samples.
    """
    started = time.perf_counter()
    sizes = [(parse_eps(str(e)), str(e)) for e in eps]
    graph, deployed = loaded(model, input_shape, output)
    if not deployed:
        raise InputError(graph.name, "has no file that ONNX Runtime could run", "certify a path")
    dataset = _dataset(data, labels)
    classes = graph.outputs
    x = check_layout(dataset, graph.sample_shape, classes)
    y = check_labels(dataset, classes)
    if input_range is not None:
        check_range(x, *input_range)
    options = Normalization.parse(normalize) if isinstance(normalize, str) else normalize
    certified = graph if options is None else options.checked().before(graph)
    result = bound(
        certified,
        norm=norm,
        method=method,
        spectral=spectral,
        pairwise=classes > 1,
        logits=True,
        device=device,
        time_limit=time_limit,
        solver=solver,
        lower_seconds=lower_seconds,
        starts=x[:16],
        progress=progress,
    )
    if not result.is_finite:
        raise UnboundedError(graph.name, f"no finite {norm} bound: {result.obstacle}")
    judge = Judge(
        RoundedEvaluator(certified.to(chosen_device(device))),
        logits_of(certified),
        np.asarray(result.pairwise if classes > 1 else [[result.value]], dtype=np.float64),
        Runtime(graph, deployed, output=graph.file_output),
        (lambda raw: raw)
        if options is None
        else lambda raw: options.apply(raw, graph.sample_shape),
    )
    judged = judge.judge(x, y, progress)
    return Certificates(
        samples=len(x),
        clean_correct=int(np.count_nonzero(judged.predictions == y)),
        certified=count_certified(judged.radii, sizes),
        radii=judged.radii,
        predictions=judged.predictions,
        labels=y,
        margins=judged.margins,
        bound=result,
        disagreements=judged.disagreements,
        norm=norm,
        units="the data's own units",
        data=dataset.name,
        data_sha256=dataset.sha256,
        seconds=time.perf_counter() - started,
        normalization=None if options is None else {"mean": options.mean, "std": options.std},
        input_range=input_range,
        largest_deviation=judged.largest_deviation,
        versions=versions(),
    )


def _dataset(
    data: str | Path | Dataset | tuple[np.ndarray, np.ndarray], labels: str | Path | None
) -> Dataset:
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple):
        x, y = (np.asarray(array) for array in data)
        if not len(x):
            raise NothingEvaluatedError("data", "holds no samples", "give at least one")
        if len(x) != len(y):
            raise InputError("data", f"has {len(x)} samples and {len(y)} labels")
        if x.dtype.kind not in "fiub" or y.dtype.kind not in "iub":
            raise InputError("data", f"has types {x.dtype} and {y.dtype}", "give numbers")
        digest = hashlib.sha256(np.ascontiguousarray(x).tobytes())
        digest.update(np.ascontiguousarray(y).tobytes())
        return Dataset(x, y.astype(np.int64), "", digest.hexdigest(), "arrays in memory")
    return load_dataset(data, labels=labels)
