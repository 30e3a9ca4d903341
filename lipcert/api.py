"""The Python API: load, inspect, bound, certify."""

from __future__ import annotations

import hashlib
import io
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lipcert.bounds import METHODS, BoundContext, LipschitzBound, Obstacle, Progress, lower_bound
from lipcert.bounds.context import silent
from lipcert.bounds.obstacles import obstacles_of
from lipcert.bounds.result import Constants
from lipcert.certification.certificates import Judge, count_certified, elapsed, parse_eps
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
from lipcert.graph import Graph
from lipcert.head import logits_of
from lipcert.inspection import Inspection, inspect_graph
from lipcert.onnx_import import build_graph, load_graph, parse_model
from lipcert.operators import Shape
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NORMS, NormSettings
from lipcert.spectral.norms import EIGENVALUE_BOUNDS
from lipcert.versions import versions

if TYPE_CHECKING:
    Model = str | Path | Graph | torch.nn.Module

AUTO = ("autolip", "averaged")
"""What ``method="auto"`` runs, in order, while time is left; the smallest bound counts."""


def load(model: Model, *, input_shape: Shape | None = None, output: str | None = None) -> Graph:
    """Read a model.

    Parameters
    ----------
    model : path of an ONNX file, a ``torch.nn.Module`` in evaluation mode, or a graph.
    input_shape : shape of one sample, without the batch; needed for a module.
    output : name of the output to take, for files with several.

    Raises
    ------
    InputError : a file that is not a usable ONNX model.
    UnsupportedError : a node that cannot be read or bounded, by name.
    """
    return _loaded(model, input_shape, output)[0]


def _loaded(
    model: Model, input_shape: Shape | None, output: str | None
) -> tuple[Graph, str | bytes]:
    """A model's graph, and what ONNX Runtime is to run (empty for a graph without a file)."""
    if isinstance(model, Graph):
        return model, model.source
    if isinstance(model, torch.nn.Module):
        name = type(model).__name__
        content = _exported(model, input_shape)
        digest = hashlib.sha256(content).hexdigest()
        parsed = parse_model(content, name)
        return build_graph(parsed, name=name, sha256=digest, output=output), content
    graph = load_graph(model, input_shape=input_shape, output=output)
    return graph, graph.source


def _exported(module: torch.nn.Module, input_shape: Shape | None) -> bytes:
    """A module as the bytes of an ONNX model, by torch's own exporter."""
    if input_shape is None:
        raise InputError(
            type(module).__name__, "has no known input shape", "give input_shape=(…) of one sample"
        )
    if module.training:
        raise InputError(type(module).__name__, "is in training mode", "call module.eval() first")
    parameter = next(iter(module.parameters()), torch.zeros(()))
    dummy = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            export: Any = torch.onnx.export  # its stub does not know that a buffer will do
            export(module, (dummy,), buffer, opset_version=17, dynamo=False)
        except Exception as error:
            raise InputError(
                type(module).__name__,
                f"torch.onnx.export fails: {str(error).splitlines()[0]}",
                "export it to a file yourself; parametrised layers need "
                "torch.nn.utils.parametrize.remove_parametrizations first",
            ) from error
    return buffer.getvalue()


def inspect(
    model: Model,
    *,
    norm: str = "l2",
    spectral: str = "auto",
    device: str = "cpu",
    input_shape: Shape | None = None,
    output: str | None = None,
    progress: Progress = silent,
) -> Inspection:
    """The model as layers: shapes, parameters, norms, slopes, and what stands in the way.

    Raises what :func:`load` raises.
    """
    graph = load(model, input_shape=input_shape, output=output)
    context = BoundContext(norm, _settings(norm, spectral, device, 30.0), progress)
    return inspect_graph(graph, fold(graph), context)


def bound(
    model: Model,
    *,
    norm: str = "l2",
    method: str = "auto",
    spectral: str = "auto",
    pairwise: bool = False,
    logits: bool = False,
    device: str = "cpu",
    time_limit: float = 30.0,
    lower_seconds: float = 2.0,
    starts: np.ndarray | None = None,
    input_shape: Shape | None = None,
    output: str | None = None,
    progress: Progress = silent,
) -> LipschitzBound:
    """A proven upper bound of the model's global Lipschitz constant, and a lower bound.

    Parameters
    ----------
    norm : "l1", "l2" or "linf", of inputs and outputs.
    method : a name of ``METHODS``, or "auto" for the smallest that the time limit allows.
    spectral : "svd", "gram" or "auto": how operator norms are found; all are proven.
    pairwise : also the constants of all differences of two outputs.
    logits : bound the logits, leaving out a final softmax or sigmoid.
    device : "cpu", "cuda" or "auto".
    time_limit : seconds after which no optional work is started.
    lower_seconds : seconds spent on the lower bound; 0 leaves it out.
    starts : samples from which the search for the lower bound begins.

    Returns a bound that may be infinite; its ``obstacle`` then names the node.  Raises what
    :func:`load` raises, and InputError for an unknown norm, method or device.
    """
    started = time.perf_counter()
    graph = load(model, input_shape=input_shape, output=output)
    if logits:
        graph = graph.ending_at(logits_of(graph))
    settings = _settings(norm, spectral, device, time_limit)
    form = fold(graph)
    context = BoundContext(norm, settings, progress)
    results = _run_methods(form, context, method)
    name, best = min(results.items(), key=lambda item: item[1].value)
    table = None
    if pairwise:
        table = tuple(tuple(float(v) for v in row) for row in _pairwise(form, results, best.value))
    lower = 0.0
    if lower_seconds > 0.0:
        progress("lower bound", 0.0)
        points = None if starts is None else torch.from_numpy(np.asarray(starts, dtype=np.float64))
        moved = graph.to(settings.device)
        lower = lower_bound(moved, norm=norm, seconds=lower_seconds, starts=points)
    return LipschitzBound(
        value=best.value,
        lower=lower,
        norm=norm,
        method=name,
        seconds=elapsed(started),
        methods={key: constants.value for key, constants in results.items()},
        pairwise=table,
        obstacle=_obstacle(form, best.value),
        model=graph.name,
        model_sha256=graph.sha256,
        output=graph.output,
        spectral=spectral,
        device=str(settings.device),
        versions=versions(),
    )


def _settings(norm: str, spectral: str, device: str, time_limit: float) -> NormSettings:
    NORMS[norm]
    EIGENVALUE_BOUNDS[spectral]
    if not time_limit > 0.0:
        raise InputError("--time-limit", f"{time_limit:g} is not a positive number of seconds")
    deadline = time.monotonic() + time_limit
    return NormSettings(spectral=spectral, deadline=deadline, device=_device(device))


def _device(name: str) -> torch.device:
    if name not in ("cpu", "cuda", "auto"):
        raise InputError(f"device {name!r}", "is not known", "choose one of: auto, cpu, cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device 'cuda'", "is not available here", "use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def _run_methods(form: SignalForm, context: BoundContext, method: str) -> dict[str, Constants]:
    if method != "auto":
        return {method: METHODS[method](form, context)}
    results: dict[str, Constants] = {}
    for name in AUTO:
        if results and context.expired:
            break
        results[name] = METHODS[name](form, context)
    return results


def _pairwise(form: SignalForm, results: dict[str, Constants], value: float) -> np.ndarray:
    """The smallest pairwise constants of all methods that ran."""
    if not math.isfinite(value):
        outputs = math.prod(form.output_shape)
        return np.where(np.eye(outputs, dtype=bool), 0.0, math.inf)
    table: np.ndarray | None = None
    for constants in results.values():
        found = constants.pairwise()
        table = found if table is None else np.minimum(table, found)
    assert table is not None
    return table


def _obstacle(form: SignalForm, value: float) -> Obstacle | None:
    """What keeps the bound from being finite, None when it is."""
    if math.isfinite(value):
        return None
    found = obstacles_of(form)
    if found:
        return found[0]
    return Obstacle(
        form.stages[-1].node.name if form.stages else "output",
        "overflow",
        "has a constant beyond the range of float64",
        "scale the weights down",
    )


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
    graph, deployed = _loaded(model, input_shape, output)
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
        lower_seconds=lower_seconds,
        starts=x[:16],
        progress=progress,
    )
    if not result.is_finite:
        raise UnboundedError(graph.name, f"no finite {norm} bound: {result.obstacle}")
    judge = Judge(
        RoundedEvaluator(certified.to(_device(device))),
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
        seconds=elapsed(started),
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
