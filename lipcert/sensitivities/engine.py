"""Backpropagation for bounds: how much one example can move each parameter's gradient.

Béthune et al., *DP-SGD Without Clipping* (ICLR 2024), Algorithm 8, over any graph: a bound X of
every value forward, a bound G of the loss gradient at every value backward, and from both, layer
by layer, a bound of the gradient in its parameters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection

from lipcert.bounds import METHODS, BoundContext, Progress
from lipcert.bounds.context import silent
from lipcert.bounds.obstacles import obstacles_of
from lipcert.errors import InputError, UnboundedError, UnsupportedError
from lipcert.graph import Graph
from lipcert.sensitivities.backward import Backward, Head
from lipcert.sensitivities.inputs import InputSet
from lipcert.sensitivities.layers import global_delta, layers_of, totals
from lipcert.sensitivities.magnitudes import Forward
from lipcert.sensitivities.parameters import Uses, check_reads
from lipcert.sensitivities.result import LayerSensitivity, Sensitivities
from lipcert.sensitivities.tightenings import PLAIN, TIGHTENINGS
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NormSettings
from lipcert.versions import versions


def sensitivities(
    graph: Graph,
    *,
    loss_lipschitz: float | Callable[[float], float],
    input_set: InputSet,
    head: Head | None = None,
    loss: str = "a loss of one's own",
    plain: bool = False,
    frozen: Collection[str] = (),
    prefix: str = "averaged",
    compare: bool = True,
    settings: NormSettings | None = None,
    progress: Progress = silent,
) -> Sensitivities:
    """Bounds of the l2 norm of one example's loss gradient, per initialiser, layer and in all.

    Parameters
    ----------
    loss_lipschitz : of the loss in the model's output, per example (divide by a fixed, public
        batch size for a mean over the batch); or that constant from a bound of the output's norm.
    input_set : where inputs lie.
    head : from the last layer's weight to a bound of the loss gradient at its input, scaled as
        the loss is.
    plain : Algorithm 8 as published, without the tightenings.
    frozen : initialisers that are not trained.
    prefix : the method of ``METHODS`` that bounds the constants of the model's first and last
        layers; "autolip" costs nothing beyond the norms, as a training step wants it.
    compare : also find the global bound without each of the tightenings.
    settings : how operator norms are found.

    Raises
    ------
    UnsupportedError : a parameter that does not enter a layer as it is, by name.
    UnboundedError : a model without a finite bound.
    InputError : a model without parameters, or options that cannot be meant.
    """
    started = time.perf_counter()
    if not callable(loss_lipschitz):
        _check_constant(loss_lipschitz)
    check_reads(graph, frozen)
    _check_centre(graph, input_set)
    settings = NormSettings() if settings is None else settings
    moved = graph.to(settings.device)
    form = fold(graph)
    context = BoundContext("l2", settings, progress)
    METHODS.check_norm(prefix, "l2")
    forward = Forward(moved, form, input_set, context, prefix)
    constant = loss_lipschitz
    if callable(constant):
        constant = constant(forward.run(frozenset(TIGHTENINGS))[moved.output].X)
        _check_constant(constant)
    backward = Backward(moved, form, constant, context, head, prefix)
    uses = Uses(moved, frozen)

    def run(on: frozenset[str]) -> tuple[LayerSensitivity, ...]:
        return layers_of(moved, uses, forward.run(on), backward.run(on), on)

    everything = frozenset(TIGHTENINGS) if head is not None else frozenset(TIGHTENINGS) - {"head"}
    progress("bounds of values and gradients", 0.0)
    simple = run(PLAIN)
    chosen = simple if plain else run(everything)
    if not chosen:
        raise InputError(graph.name, "has no parameters to train", "name a model with weights")
    total = global_delta(chosen)
    if not math.isfinite(total):
        raise _unbounded(graph, form, chosen)
    gains = {}
    if compare and not plain:
        for done, name in enumerate(sorted(everything), start=1):
            progress(f"bounds without {TIGHTENINGS[name]}", done / (len(everything) + 1))
            gains[name] = global_delta(run(everything - {name}))
    return Sensitivities(
        model=graph.name,
        model_sha256=graph.sha256,
        loss=loss,
        loss_lipschitz=constant,
        input_bound=input_set.bound,
        input_kind=input_set.kind,
        is_private=input_set.is_private,
        global_delta=total,
        layers=chosen,
        parameters=totals(chosen),
        plain_delta=global_delta(simple),
        gains=gains,
        device=str(settings.device),
        seconds=time.perf_counter() - started,
        versions=versions(),
    )


def _check_constant(constant: float) -> None:
    if not 0.0 <= constant < math.inf:
        finding = f"{constant:g} is not a constant"
        raise InputError("the loss's Lipschitz constant", finding, "give a finite number")


def _check_centre(graph: Graph, input_set: InputSet) -> None:
    centre = input_set.centre
    if centre is not None and centre.numel() != math.prod(graph.sample_shape):
        raise InputError(
            "input set",
            f"is of shape {tuple(centre.shape)}, the model's samples of {graph.sample_shape}",
            "give the model's own shape",
        )


def _unbounded(
    graph: Graph, form: SignalForm, layers: tuple[LayerSensitivity, ...]
) -> UnsupportedError:
    """The refusal of a model with an infinite bound, naming the node that makes it so."""
    found = obstacles_of(form)
    if found:
        first = found[0]
        place = f"node {first.node!r} ({first.onnx_type})"
        return UnboundedError(place, f"{first.finding}: no finite sensitivity", first.help)
    worst = next(layer for layer in layers if not math.isfinite(layer.delta))
    return UnboundedError(
        f"{graph.name}, node {worst.name!r}",
        "has a sensitivity beyond the range of float64",
        "scale the weights down",
    )
