"""What the readable formats tell, as rows of strings: they differ only in how it is laid out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lipcert.reports.numbers import (
    HEADLINE,
    RADIUS,
    at_least,
    at_most,
    duration,
    eps_value,
    interval,
    percentage,
    percentage_up,
    shape,
)
from lipcert.reports.words import ITSELF, exactness, file_text, plural, searched_lower

if TYPE_CHECKING:
    from lipcert.bounds.obstacles import Obstacle
    from lipcert.bounds.result import LipschitzBound
    from lipcert.certification.result import Certificates
    from lipcert.inspection import Inspection, Layer

Fact = tuple[str, str, str]
"""A label, a value, and a remark."""

YES = "✓"
MATCHES = 1e-6
"""Relative difference up to which a proof file is said to prove the bound itself."""


def model_summary(inspection: Inspection) -> str:
    """Shapes, size and opset."""
    return (
        f"input {shape(inspection.input_shape)} → output {shape(inspection.output_shape)}, "
        f"{plural(inspection.parameters, 'parameter')}, opset {inspection.opset}"
    )


def layer_titles(inspection: Inspection) -> tuple[str, ...]:
    """Heads of the columns of :func:`layer_rows`."""
    return "layer", "type", "output", "parameters", "slope", f"{inspection.norm} norm ≤", " "


def layer_rows(inspection: Inspection) -> list[tuple[str, ...]]:
    """Name, type, output shape, parameters, slope, norm bound, mark of a 1-Lipschitz layer."""
    return [
        (
            layer.name,
            layer.onnx_type,
            shape(layer.output_shape),
            f"{layer.parameters:,}",
            _slope(layer),
            at_most(layer.norm),
            YES if layer.is_contraction else " ",
        )
        for layer in inspection.layers
    ]


def _slope(layer: Layer) -> str:
    if layer.linear:
        return "linear"
    return interval(*layer.slopes) if layer.slopes else "nonlinear"


def contraction_note(inspection: Inspection) -> str:
    """How many layers are 1-Lipschitz."""
    count = sum(layer.is_contraction for layer in inspection.layers)
    return f"{YES} 1-Lipschitz, {count} of {plural(len(inspection.layers), 'layer')}"


def factor_rows(inspection: Inspection) -> list[tuple[str, str, str]]:
    """Stretch, norm bound and how it was found; slopes of 1 are left out."""
    return [
        (factor.label, at_most(factor.value), factor.how)
        for factor in inspection.factors
        if not (factor.is_slope and factor.value == 1.0)
    ]


def factor_note(inspection: Inspection) -> str:
    """What :func:`factor_rows` leaves out, or ""."""
    left_out = len(inspection.factors) - len(factor_rows(inspection))
    return f"and {plural(left_out, 'slope')} of 1" if left_out else ""


def product_facts(inspection: Inspection) -> Iterator[Fact]:
    """The value of the product, where there is one."""
    if math.isfinite(inspection.product):
        targets = [factor.target for factor in inspection.factors if not factor.is_slope]
        remark = "the autolip bound"
        if len(set(targets)) < len(targets):
            remark += ", branches joined"
        yield "product", f"≤ {at_most(inspection.product, HEADLINE)}", remark


def obstacle_groups(inspection: Inspection) -> Iterator[tuple[list[str], str, str]]:
    """Nodes that share a reason, the reason, and what would help."""
    groups: dict[tuple[str, str], list[str]] = {}
    for obstacle in inspection.obstacles:
        node = f"{obstacle.node} ({obstacle.onnx_type})"
        groups.setdefault((obstacle.finding, obstacle.help), []).append(node)
    for (finding, help), nodes in groups.items():
        yield nodes, finding, help


def bound_facts(bound: LipschitzBound) -> Iterator[Fact]:
    """Upper bound, lower bound and ratio; for no finite bound, why."""
    if bound.is_finite:
        remark = f"method {bound.method}" + (f": {ITSELF}" if bound.exact else "")
        yield "proven upper bound", at_most(bound.value, HEADLINE), remark
    elif bound.obstacle:
        yield from obstacle_facts(bound.obstacle)
    yield from proof_facts(bound)
    yield from lower_facts(bound)


def proof_facts(bound: LipschitzBound) -> Iterator[Fact]:
    """What the proof file proves, where one was made."""
    proof = bound.proof
    if proof is not None:
        remark = f"{proof.method}, {plural(proof.claims, 'claim')}, {proof.size:,} bytes"
        if proof.value > bound.value * (1.0 + MATCHES):
            remark += "; the checker does not cover the way to the bound above"
        yield "in the proof file", at_most(proof.value, HEADLINE), remark
        yield "proof file", "", file_text(proof)
        if proof.check:
            yield "to check it", "", proof.check


def lower_facts(bound: LipschitzBound) -> Iterator[Fact]:
    """Lower bound and ratio, where there are any."""
    if searched_lower(bound) is not None:
        remark = "lower bound: the constant is not below it"
        yield "steepest slope found", at_least(bound.lower, HEADLINE), remark
    ratio = exactness(bound)
    if ratio is not None:
        meaning = "here the search falls short" if bound.exact else "1 is exact"
        yield "ratio", at_most(ratio), f"upper bound over lower bound; {meaning}"


def obstacle_facts(obstacle: Obstacle) -> Iterator[Fact]:
    """The node, why, and what would help."""
    yield "node", "", f"{obstacle.node} ({obstacle.onnx_type})"
    yield "why", "", obstacle.finding
    yield "help", "", obstacle.help


def method_titles(bound: LipschitzBound) -> tuple[str, ...]:
    """Heads of the columns of :func:`method_rows`; none where they would tell nothing new."""
    if not bound.is_finite or not (len(bound.methods) > 1 or bound.details):
        return ()
    return ("method", "bound", " ", "how") if bound.details else ("method", "bound", " ")


def method_rows(bound: LipschitzBound) -> list[tuple[str, ...]]:
    """Every method that ran, its bound, and a mark for the smallest, which comes first.

    A last column tells how each bound came about where any of them has more to say than its name.
    """
    rows: list[tuple[str, ...]] = []
    for name, value in sorted(bound.methods.items(), key=lambda item: item[1]):
        mark = f"{YES} smallest" if name == bound.method else ""
        row = (name, at_most(value, HEADLINE), mark)
        rows.append((*row, bound.details.get(name, "")) if bound.details else row)
    return rows


def count_rows(certificates: Certificates) -> list[tuple[str, int, str, str]]:
    """Correct predictions, then certified ones for every ε: label, count, fraction, percentage."""
    total = certificates.samples
    counts = [("correct", certificates.clean_correct)]
    counts += [
        (f"certified at {eps_value(entry.eps, entry.eps_text)}", entry.count)
        for entry in certificates.certified
    ]
    return [(label, count, f"{count}/{total}", percentage(count, total)) for label, count in counts]


def count_titles(certificates: Certificates) -> tuple[str, str, str, str]:
    """Heads over a label, a fraction, a percentage, and what the attack leaves."""
    attacked = "" if certificates.attack is None else "attack leaves"
    return "", "samples", "share", attacked


def attacked_texts(certificates: Certificates) -> list[str]:
    """For every row of :func:`count_rows` what the attack leaves; "" where there was none."""
    total = certificates.samples
    return [
        "",
        *(
            ""
            if entry.attacked is None
            else f"≤ {entry.attacked}/{total}, {percentage_up(entry.attacked, total)}"
            for entry in certificates.certified
        ),
    ]


def real_texts(certificates: Certificates) -> list[str]:
    """For every row of :func:`count_rows` the samples certified in real arithmetic; none unless
    the counts are for float32."""
    if certificates.semantics != "float32":
        return []
    total = certificates.samples
    return ["", *(f"{entry.real}/{total}" for entry in certificates.certified)]


def score_facts(certificates: Certificates) -> Iterator[Fact]:
    """What the values of a model with one output certify."""
    scores = certificates.scores
    if scores is None:
        return
    yield "mean certified radius", at_least(scores.mcr, RADIUS), "MCR: a wrong sign is < 0"
    for entry in scores.auroc:
        label = f"AUROC at {eps_value(entry.eps, entry.eps_text)}"
        yield label, at_least(entry.value, RADIUS), "certified: no attack gets below it"


def radius_facts(certificates: Certificates) -> Iterator[Fact]:
    """Statistics of the radii, and the bound behind them."""
    radius, bound = certificates.radius, certificates.bound
    unit = f"{certificates.norm}, in {certificates.units}"
    yield "median radius", at_least(radius.median, RADIUS), unit
    yield "mean radius", at_least(radius.mean, RADIUS), "a wrong prediction counts as 0"
    yield "largest radius", at_least(radius.maximum, RADIUS), ""
    remark = f"{bound.norm} constant of the logits ({bound.method})"
    yield "proven upper bound", at_most(bound.value, HEADLINE), remark


def normalization_text(certificates: Certificates) -> str:
    """The normalisation inside the certified map, or ""."""
    items = (certificates.normalization or {}).items()
    return ", ".join(f"{name} {', '.join(f'{v:g}' for v in values)}" for name, values in items)


def bound_provenance(bound: LipschitzBound) -> str:
    """How the bound came about."""
    parts = [duration(bound.seconds), bound.device, f"spectral {bound.spectral}"]
    return " · ".join((*parts, *_digests(model=bound.model_sha256)))


def certificates_provenance(certificates: Certificates) -> str:
    """How the certificates came about."""
    bound = certificates.bound
    parts = [duration(certificates.seconds), bound.device]
    digests = _digests(model=bound.model_sha256, data=certificates.data_sha256)
    return " · ".join((*parts, *digests))


def _digests(**digests: str) -> list[str]:
    return [f"{name} sha256 {digest[:12]}" for name, digest in digests.items() if digest]
