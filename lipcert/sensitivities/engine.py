"""Backpropagation for bounds: how much one example can move each parameter's gradient.

Béthune et al., *DP-SGD Without Clipping* (ICLR 2024), Algorithm 8, over any graph: a bound X of
every value forward, a bound G of the loss gradient at every value backward, and from both, layer
by layer, a bound of the gradient in its parameters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from lipcert.bounds import METHODS, BoundContext, Progress
from lipcert.bounds.context import silent
from lipcert.bounds.obstacles import obstacles_of
from lipcert.errors import InputError, UnboundedError, UnsupportedError
from lipcert.graph import Graph
from lipcert.sensitivities.backward import Backward, Head, bodies, shared_reads
from lipcert.sensitivities.inputs import InputSet
from lipcert.sensitivities.layers import global_delta, layers_of, totals
from lipcert.sensitivities.magnitudes import Forward
from lipcert.sensitivities.memory import Memory
from lipcert.sensitivities.parameters import Uses, check_reads
from lipcert.sensitivities.parts import COSTLY, TIGHTEST, Parts, prefixes, suffixes
from lipcert.sensitivities.result import LayerSensitivity, Sensitivities
from lipcert.sensitivities.solving import Worth, solve_parts
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
    methods: Collection[str] = TIGHTEST,
    compare: bool = True,
    settings: NormSettings | None = None,
    progress: Progress = silent,
    memory: Memory | None = None,
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
    methods : of ``METHODS``, those that bound the constants of parts of the model, of which the
        smallest count; ``QUICK`` costs nothing beyond the norms, as a training step wants it.
    compare : also find the global bound without each of the tightenings.
    settings : how operator norms are found, and the deadline: after it only what is needed for a
        bound is done.
    memory : of the last call for the same graph with other weights; makes this one faster.

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
    memory = Memory() if memory is None else memory
    settings = replace(settings, starts=memory.starts)
    needed = replace(settings, deadline=math.inf)
    context = BoundContext("l2", needed, progress, norms=memory.norms_of(moved))
    memory.norms = context.norms
    memory.starts.next_run()
    for method in methods:
        METHODS.check_norm(method, "l2")
    forward = Forward(moved, input_set, context, Parts(), memory)
    progress("bounds of values and gradients", 0.0)
    forward.run(PLAIN)
    context.once(METHODS["autolip"], form)
    context.settings = settings  # all that is needed is known: from here on time is limited
    forward.prefixes = prefixes(graph, form, methods, context)
    everything = frozenset(TIGHTENINGS) if head is not None else frozenset(TIGHTENINGS) - {"head"}

    def loss_at(size: float) -> float:
        return loss_lipschitz(size) if callable(loss_lipschitz) else loss_lipschitz

    constant = first = loss_at(forward.run(everything)[moved.output].X)
    _check_constant(constant)
    backward = Backward(
        moved, form, constant, context, Parts(), head, shared=shared_reads(graph, form)
    )
    if not plain:
        backward.suffixes = suffixes(graph, form, methods)
        backward.bodies = bodies(graph, form, backward, methods)
        for method in (m for m in methods if m != COSTLY):
            for parts in (backward.suffixes, backward.bodies, forward.prefixes):
                parts.run(method, context)
    uses = Uses(moved, frozen, memory)

    def run(on: frozenset[str], loss_constant: float) -> tuple[LayerSensitivity, ...]:
        backward.loss_lipschitz = loss_constant
        return layers_of(moved, uses, forward.run(on), backward.run(on), on)

    simple = run(PLAIN, first)
    chosen = simple if plain else run(everything, first)
    if not chosen:
        raise InputError(graph.name, "has no parameters to train", "name a model with weights")
    if COSTLY in methods and not plain:
        worth = Worth(moved, forward, backward, everything, chosen, loss_at)
        solve_parts(worth.candidates(), context)
        constant = min(first, loss_at(forward.run(everything)[moved.output].X))
        chosen = run(everything, constant)
    total = global_delta(chosen)
    if not math.isfinite(total):
        raise _unbounded(graph, form, chosen)
    gains = {}
    if compare and not plain:
        for done, name in enumerate(sorted(everything), start=1):
            progress(f"bounds without {TIGHTENINGS[name]}", done / (len(everything) + 1))
            before = first if name == COSTLY else constant
            gains[name] = global_delta(run(everything - {name}, before))
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
