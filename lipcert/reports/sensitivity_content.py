"""What the readable formats tell of sensitivities, as rows of strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.numbers import HEADLINE, TABLE, at_least, at_most, duration

if TYPE_CHECKING:
    from lipcert.sensitivities.analysis import Analysis

Fact = tuple[str, str, str]

LAYER_TITLES = ("layer", "type", "X ≤", "G ≤", "Δ ≤")


def headline(analysis: Analysis) -> str:
    """What was bounded."""
    found = analysis.sensitivities
    return f"gradient of one example's loss, {len(found.layers)} layers"


def global_facts(analysis: Analysis) -> Iterator[Fact]:
    """The global sensitivity, what it rests on, and what each tightening is worth."""
    found = analysis.sensitivities
    yield "sensitivity", at_most(found.global_delta, HEADLINE), "all parameters, l2 norm"
    if found.gains:
        yield "plain", at_most(found.plain_delta, TABLE), "the algorithm as published, made sound"
        for name, delta in found.gains.items():
            if delta > found.global_delta:
                yield f"without {name}", at_most(delta, TABLE), ""
    yield "input bound", at_most(found.input_bound, TABLE), found.input_kind
    yield "loss constant", at_most(found.loss_lipschitz, TABLE), found.loss


def layer_rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """Name, operator, X, G and Δ of every layer, and what the data reach of Δ."""
    compared = analysis.comparison
    reached = {one.name: at_least(one.ratio, 3) for one in compared.layers} if compared else {}
    rows: list[tuple[str, ...]] = []
    for layer in analysis.sensitivities.layers:
        bounds = [at_most(value) for value in (layer.X, layer.G, layer.delta)]
        ratio = [reached.get(layer.name, "–")] if compared else []
        rows.append((layer.name, layer.onnx_type, *bounds, *ratio))
    return rows


def layer_titles(analysis: Analysis) -> tuple[str, ...]:
    """Heads of :func:`layer_rows`."""
    return (*LAYER_TITLES, "truth / Δ") if analysis.comparison else LAYER_TITLES


def comparison_facts(analysis: Analysis) -> Iterator[Fact]:
    """What the gradients of the data, and of a search, reach of the bound."""
    compared = analysis.comparison
    if compared is None:
        return
    where = f"largest of {compared.samples} examples of {compared.data}"
    yield "gradient norm", at_least(compared.total.norm, TABLE), where
    yield "truth / Δ", at_least(compared.total.ratio, 3), "1 means that the bound is attained"
    if compared.searched is not None:
        remark = "largest that gradient ascent over inputs found"
        yield "by search", at_least(compared.searched.norm, TABLE), remark
        yield "search / Δ", at_least(compared.searched.ratio, 3), ""


def privacy_facts(analysis: Analysis) -> Iterator[Fact]:
    """ε and the noise."""
    privacy = analysis.privacy
    if privacy is None:
        return
    run = f"{privacy.steps} steps at sampling rate {privacy.sampling_rate:.6g}"
    yield "ε", at_most(privacy.epsilon, TABLE), f"at δ = {privacy.delta:g}, {privacy.adjacency}"
    remark = f"{privacy.allocation} allocation, {privacy.accountant.upper()} accountant, {run}"
    yield "noise multiplier", at_most(privacy.noise_multiplier, TABLE), remark


def noise_rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """For each group of parameters its Δ, and the noise on its summed and on its mean gradient."""
    privacy = analysis.privacy
    if privacy is None:
        return []
    return [
        (
            layer.name,
            f"{layer.parameters:,}",
            at_most(layer.delta),
            at_most(layer.standard_deviation),
            at_most(layer.standard_deviation_of_mean),
        )
        for layer in privacy.layers
    ]


NOISE_TITLES = ("layer", "parameters", "Δ ≤", "noise on the sum", "on the mean")


def assumption_sentences(analysis: Analysis) -> tuple[str, ...]:
    """What must be upheld for the numbers to hold."""
    found = analysis.sensitivities
    notes = []
    if not found.is_private:
        notes.append(
            "The input bound is that of this data set: the sensitivities say nothing of other "
            "examples and are no privacy guarantee."
        )
    return (*notes, *(analysis.privacy.assumptions if analysis.privacy else ()))


def statement(analysis: Analysis) -> str:
    """What is proved."""
    return (
        "For every input in the set and every label the gradient of one example's loss has at "
        "most these l2 norms: proved in real arithmetic on the weights that the file holds, for "
        "these weights only."
    )


def provenance(analysis: Analysis) -> str:
    """How it came about."""
    found = analysis.sensitivities
    parts = [duration(found.seconds), found.device]
    if found.model_sha256:
        parts.append(f"model sha256 {found.model_sha256[:12]}")
    return " · ".join(parts)
