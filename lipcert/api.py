"""The Python API: load, inspect, bound."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lipcert.bounds import METHODS, BoundContext, LipschitzBound, Obstacle, Progress, lower_bound
from lipcert.bounds.context import silent
from lipcert.bounds.obstacles import obstacles_of
from lipcert.bounds.result import Constants
from lipcert.conic.solvers import SOLVERS
from lipcert.errors import InputError, SolverError, SoundnessError, UnsupportedError
from lipcert.graph import Graph
from lipcert.head import logits_of
from lipcert.inspection import Inspection, inspect_graph
from lipcert.onnx_import import build_graph, load_graph, parse_model
from lipcert.onnx_import.modules import export_module
from lipcert.operators import Shape
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NORMS, NormSettings
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.versions import versions

if TYPE_CHECKING:
    Model = str | Path | Graph | torch.nn.Module

logger = logging.getLogger(__name__)

AUTO = ("blocks", "exact", "autolip", "averaged", "lipsdp")
"""What ``method="auto"`` runs, in order, while time is left; the smallest bound counts."""
EARLY = ("autolip", "averaged")
"""Of them those that leave time to the others."""
LEFT_FOR_LOWER = 0.1
"""Share of the time limit for the lower bound where the upper one has used up all of it."""


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
    return loaded(model, input_shape, output)[0]


def loaded(
    model: Model, input_shape: Shape | None, output: str | None
) -> tuple[Graph, str | bytes]:
    """A model's graph, and what ONNX Runtime is to run (empty for a graph without a file)."""
    if isinstance(model, Graph):
        return model, model.source
    if isinstance(model, torch.nn.Module):
        name = type(model).__name__
        content = export_module(model, input_shape)
        digest = hashlib.sha256(content).hexdigest()
        parsed = parse_model(content, name)
        return build_graph(parsed, name=name, sha256=digest, output=output), content
    graph = load_graph(model, input_shape=input_shape, output=output)
    return graph, graph.source


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
    context = BoundContext(norm, norm_settings(norm, spectral, device, 30.0), progress)
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
    solver: str = "hkm",
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
    time_limit : seconds after which no optional work is started, and a solver stops with the
        bound it has.
    solver : of LipSDP: "hkm" (structured), or "scs" or "clarabel" through cvxpy.
    lower_seconds : seconds spent on the lower bound, as far as the time limit leaves them, but a
        tenth of it in any case; 0 leaves it out.
    starts : samples from which the search for the lower bound begins.

    Returns a bound that may be infinite; its ``obstacle`` then names the node.  Raises what
    :func:`load` raises, InputError for an unknown norm, method or device, and SoundnessError
    where a slope was found above the bound.
    """
    started = time.perf_counter()
    graph = load(model, input_shape=input_shape, output=output)
    if logits:
        graph = graph.ending_at(logits_of(graph))
    settings = norm_settings(norm, spectral, device, time_limit)
    form = fold(graph)
    SOLVERS[solver]
    context = BoundContext(norm, settings, progress, solver)
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
        left = max(settings.deadline - time.monotonic(), LEFT_FOR_LOWER * time_limit)
        lower = lower_bound(moved, norm=norm, seconds=min(lower_seconds, left), starts=points)
        if lower > best.value:
            raise SoundnessError(
                f"{graph.name}, norm {norm}",
                f"a slope of {lower:.9g} was computed, above the bound {best.value:.9g} ({name})",
                "one of the two is wrong; please report it with the model",
            )
    return LipschitzBound(
        value=best.value,
        lower=lower,
        norm=norm,
        method=name,
        seconds=time.perf_counter() - started,
        methods={key: constants.value for key, constants in results.items()},
        details={key: found.details for key, found in results.items() if found.details},
        exact=best.exact,
        pairwise=table,
        obstacle=_obstacle(form, best.value),
        model=graph.name,
        model_sha256=graph.sha256,
        output=graph.output,
        spectral=spectral,
        device=str(settings.device),
        versions=versions(),
        multipliers=next((c.multipliers for c in results.values() if c.multipliers), None),
    )


def norm_settings(norm: str, spectral: str, device: str, time_limit: float) -> NormSettings:
    """How norms are found within a time limit that begins now.

    Raises InputError for a limit that is not positive, an unknown name, or a device not there.
    """
    NORMS[norm]
    EIGENVALUE_BOUNDS[spectral]
    if not time_limit > 0.0:
        raise InputError("--time-limit", f"{time_limit:g} is not a positive number of seconds")
    deadline = time.monotonic() + time_limit
    return NormSettings(spectral=spectral, deadline=deadline, device=chosen_device(device))


def chosen_device(name: str) -> torch.device:
    """The device that "cpu", "cuda" or "auto" stands for.  Raises InputError when there is none."""
    if name not in ("cpu", "cuda", "auto"):
        raise InputError(f"device {name!r}", "is not known", "choose one of: auto, cpu, cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device 'cuda'", "is not available here", "use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def _run_methods(form: SignalForm, context: BoundContext, method: str) -> dict[str, Constants]:
    if method != "auto":
        METHODS.check_norm(method, context.norm)
        return {method: context.once(METHODS[method], form)}
    results: dict[str, Constants] = {}
    for name in AUTO:
        if context.norm not in METHODS.norms_of(name):
            continue
        if results and (context.expired or any(found.exact for found in results.values())):
            break
        try:
            run = context.early if name in EARLY else context.once
            results[name] = run(METHODS[name], form)
        except UnsupportedError:
            continue  # a method for special models only
        except SolverError as error:
            if not results:
                raise
            logger.info("%s", error)
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
