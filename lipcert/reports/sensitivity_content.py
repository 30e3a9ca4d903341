"""What the readable formats tell of sensitivities, as rows of strings and sentences.

All of it is told from the JSON object, so that a run and its file read the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.html.sensitivity_record import SensitivityRecord, sensitivity_record_of
from lipcert.reports.numbers import HEADLINE, TABLE, at_least, at_most, duration
from lipcert.reports.words import SEMANTICS, plural

if TYPE_CHECKING:
    from lipcert.reports.html.privacy_record import Privacy
    from lipcert.sensitivities.analysis import Analysis

Fact = tuple[str, str, str]

LAYER_TITLES = ("layer", "type", "X ≤", "G ≤", "Δ ≤")
NOISE_TITLES = ("layer", "parameters", "Δ ≤", "noise on the sum", "on the mean")
RATIO = 3
"""Significant digits of a ratio of the truth to its bound."""
ONLY_DATA = (
    "The input bound is that of this data set: the sensitivities say nothing of other "
    "examples and are no privacy guarantee."
)


def record_of_analysis(analysis: Analysis) -> SensitivityRecord:
    """What the JSON of a result tells."""
    from lipcert.reports.sensitivity_json import analysis_object

    return sensitivity_record_of(analysis_object(analysis))


def headline(record: SensitivityRecord) -> str:
    """What was bounded."""
    return f"gradient of one example's loss, {plural(len(record.layers), 'layer')}"


def global_facts(record: SensitivityRecord) -> Iterator[Fact]:
    """The global sensitivity, what it rests on, and what each tightening is worth."""
    yield "sensitivity", at_most(record.total, HEADLINE), "all parameters, l2 norm"
    if record.gains:
        yield "plain", at_most(record.plain, TABLE), "the algorithm as published, made sound"
        for name, delta in record.gains:
            if delta > record.total:
                yield f"without {name}", at_most(delta, TABLE), ""
    yield "input bound", at_most(record.input_bound, TABLE), record.input_kind
    yield "loss constant", at_most(record.loss_lipschitz, TABLE), record.loss


def layer_rows(record: SensitivityRecord) -> list[tuple[str, ...]]:
    """Name, operator, X, G and Δ of every layer, and what the data reach of Δ."""
    truth = record.truth
    reached = {one.name: ratio_text(one.ratio) for one in truth.layers} if truth else {}
    rows: list[tuple[str, ...]] = []
    for layer in record.layers:
        bounds = [at_most(value) for value in (layer.X, layer.G, layer.delta)]
        ratio = [reached.get(layer.name, "–")] if truth else []
        rows.append((layer.name, layer.onnx_type, *bounds, *ratio))
    return rows


def ratio_text(ratio: float) -> str:
    """A ratio of the truth to its bound, rounded downward."""
    return at_least(ratio, RATIO)


def layer_titles(record: SensitivityRecord) -> tuple[str, ...]:
    """Heads of :func:`layer_rows`."""
    return (*LAYER_TITLES, "truth / Δ") if record.truth else LAYER_TITLES


def comparison_facts(record: SensitivityRecord) -> Iterator[Fact]:
    """What the gradients of the data, and of a search, reach of the bound."""
    truth = record.truth
    if truth is None:
        return
    where = f"largest of {truth.samples} examples of {truth.data}"
    yield "gradient norm", at_least(truth.total.least, TABLE), where
    yield "truth / Δ", ratio_text(truth.total.ratio), "1 means that the bound is attained"
    if truth.searched is not None:
        remark = "largest that gradient ascent over inputs found"
        yield "by search", at_least(truth.searched.least, TABLE), remark
        yield "search / Δ", ratio_text(truth.searched.ratio), ""
    if truth.left_out:
        yield "not compared", str(len(truth.left_out)), ", ".join(truth.left_out)


def privacy_facts(record: SensitivityRecord) -> Iterator[Fact]:
    """ε and the noise."""
    privacy = record.privacy
    if privacy is None:
        return
    yield "ε", at_most(privacy.epsilon), f"at δ = {privacy.delta:g}, {privacy.adjacency}"
    yield "noise multiplier", multiplier_text(privacy), run_text(privacy)


def multiplier_text(privacy: Privacy) -> str:
    """The noise multiplier as it was given; upward where it was found, as more noise is safe."""
    return str(privacy.multiplier) if privacy.target is None else at_most(privacy.multiplier)


def run_text(privacy: Privacy) -> str:
    """What was accounted for, and how."""
    rate = at_most(privacy.sampling_rate, 6)
    return (
        f"{privacy.allocation} allocation, {privacy.accountant.upper()} accountant, "
        f"{plural(privacy.steps, 'step')} at sampling rate {rate}"
    )


def noise_rows(record: SensitivityRecord) -> list[tuple[str, ...]]:
    """For each group of parameters its Δ, and the noise on its summed and on its mean gradient."""
    if record.privacy is None:
        return []
    return [
        (
            group.name,
            f"{group.parameters:,}",
            at_most(group.delta),
            at_most(group.deviation),
            at_most(group.deviation_of_mean),
        )
        for group in record.privacy.groups
    ]


def assumption_sentences(record: SensitivityRecord) -> tuple[str, ...]:
    """What must be upheld for the numbers to hold."""
    notes = () if record.is_private else (ONLY_DATA,)
    return (*notes, *(record.privacy.assumptions if record.privacy else ()))


def arithmetic(record: SensitivityRecord) -> str:
    """In what arithmetic the bounds hold."""
    return SEMANTICS.get(record.semantics, f"in {record.semantics} arithmetic")


def statement(record: SensitivityRecord) -> str:
    """What is proved."""
    return (
        "For every input in the set and every label the gradient of one example's loss has at "
        f"most these l2 norms: proved {arithmetic(record)}, for these weights only."
    )


def provenance(record: SensitivityRecord, seconds: float | None = None) -> str:
    """How it came about; without ``seconds`` the same for the same result."""
    parts = [] if seconds is None else [duration(seconds)]
    parts.append(record.device)
    if record.model_sha256:
        parts.append(f"model sha256 {record.model_sha256[:12]}")
    return " · ".join(parts)
