"""What sensitivities rest on and what they do not cover, in sentences; and the headline figures."""

from __future__ import annotations

from collections.abc import Iterator

from lipcert.reports.html.figures import Figure
from lipcert.reports.html.sensitivity_charts import MOST_LAYERS, idle
from lipcert.reports.html.sensitivity_record import SensitivityRecord
from lipcert.reports.numbers import HEADLINE, TABLE, at_least, at_most
from lipcert.reports.sensitivity_content import (
    ONLY_DATA,
    arithmetic,
    multiplier_text,
    ratio_text,
)
from lipcert.reports.words import plural

INPUTS = {
    "norm": "every input of l2 norm at most {}",
    "clip radius": "every input, scaled down in training to l2 norm at most {}",
    "largest norm in the data": "inputs of l2 norm at most {}, the largest norm in the data",
}
"""The input set by its kind."""
WARNING = "Warning: "


def figures(record: SensitivityRecord) -> tuple[Figure, ...]:
    """The sensitivity both ways, privacy, the truth, and what the bound rests on."""
    found = [
        Figure(
            "Sensitivity Δ ≤",
            at_most(record.total, HEADLINE),
            ("add or remove one example; l2 norm over all parameters",),
            lead=True,
        ),
        Figure(
            "Replace one example ≤",
            at_most(record.replace_one, HEADLINE),
            ("2Δ: one example goes, another one comes",),
        ),
    ]
    found += [*_privacy(record), *_reached(record)]
    if record.plain > record.total:
        remark = "the algorithm as published, made sound"
        found.append(Figure("Without tightenings ≤", at_most(record.plain, TABLE), (remark,)))
    found += [
        Figure("Norm of inputs ≤", at_most(record.input_bound, TABLE), (record.input_kind,)),
        Figure(
            "Loss constant ≤",
            at_most(record.loss_lipschitz, TABLE),
            ("l2 norm of the loss gradient at the model's outputs",),
        ),
    ]
    return tuple(found)


def _privacy(record: SensitivityRecord) -> Iterator[Figure]:
    privacy = record.privacy
    if privacy is None:
        return
    remarks = [f"at δ = {privacy.delta}, {privacy.adjacency}"]
    if not record.is_private:
        remarks.append("for this data only: no guarantee")
    yield Figure("ε ≤", at_most(privacy.epsilon), tuple(remarks))
    how = "as given" if privacy.target is None else f"found for ε = {privacy.target:g}"
    yield Figure("Noise multiplier σ", multiplier_text(privacy), (how,))


def _reached(record: SensitivityRecord) -> Iterator[Figure]:
    truth = record.truth
    if truth is None:
        return
    remarks = [f"largest of {plural(truth.samples, 'true gradient')} of {truth.data}"]
    possible = None
    if truth.searched is not None:
        remarks.append(f"{ratio_text(truth.searched.ratio)} by search")
        possible = min(1000, int(1000 * truth.searched.ratio))
    share = min(1000, int(1000 * truth.total.ratio))
    yield Figure("Truth / Δ", ratio_text(truth.total.ratio), tuple(remarks), share, possible)


def proved(record: SensitivityRecord) -> str:
    """What the headline number is."""
    return (
        "Whatever the input in the set and its label, the gradient of one example's loss in all "
        f"parameters together has an l2 norm of at most {at_most(record.total, HEADLINE)}: proved "
        f"{arithmetic(record)}, for these weights only."
    )


def notice(record: SensitivityRecord) -> str:
    """That nothing private is claimed, where the input bound is that of the data; else ""."""
    if record.is_private:
        return ""
    return ONLY_DATA + (" Nor are the ε and the noise on this page." if record.privacy else "")


def input_text(record: SensitivityRecord) -> str:
    """The input set."""
    words = INPUTS.get(record.input_kind, f"{record.input_kind}: l2 norm at most {{}}")
    return words.replace("{}", at_most(record.input_bound, TABLE))


def tightening_note(record: SensitivityRecord) -> str:
    """What is not in the chart of tightenings."""
    if not record.gains:
        if record.plain <= record.total:
            return "This is the algorithm as published, made sound, without tightenings."
        return "What each tightening is worth by itself was not computed."
    names = idle(record)
    alone = "Each tightening is switched off alone, the others stay."
    if not names:
        return alone
    return f"{alone} Without these the bound grows by less than 0.01 %: {', '.join(names)}."


def layers_note(record: SensitivityRecord) -> str:
    """Which layers a chart leaves out; "" where it has all of them."""
    count = len(record.layers)
    if count <= MOST_LAYERS:
        return ""
    return f"The {MOST_LAYERS} of {count} layers with the largest Δ; the tables have all."


def reached(record: SensitivityRecord) -> str:
    """What the truth is, and what a ratio means."""
    truth = record.truth
    if truth is None:
        return ""
    return (
        f"Gradients of {plural(truth.samples, 'example')} of {truth.data} were computed one by "
        f"one. The largest has norm {at_least(truth.total.least, TABLE)}, of at most "
        f"{at_most(truth.total.bound, TABLE)} proved. A ratio of 1 means that the bound is "
        "attained; one above 1 would contradict the proof, and there is none."
    )


def guarantee(record: SensitivityRecord) -> str:
    """What the noise buys, on the conditions below."""
    privacy = record.privacy
    if privacy is None:
        return ""
    subject, condition = "the run is", "if all of the conditions below are upheld"
    if not record.is_private:
        subject = "the run would be"
        condition = "if no example that there could be were outside the input set"
    return (
        f"With this noise at each of {plural(privacy.steps, 'step')}, {subject} "
        f"({at_most(privacy.epsilon)}, {privacy.delta})-differentially private under "
        f"{privacy.adjacency} adjacency, {condition}."
    )


def left_out(record: SensitivityRecord) -> str:
    """Which parameters are in no true gradient; "" where all are."""
    names = record.truth.left_out if record.truth else ()
    if not names:
        return ""
    count, listed = plural(len(names), "parameter"), ", ".join(names)
    return f"The true gradients of {count} are not known, and in none of these norms: {listed}."


def warnings(record: SensitivityRecord) -> tuple[str, ...]:
    """What is amiss with the settings of the accounting, without the word that marks it."""
    given = record.privacy.assumptions if record.privacy else ()
    return tuple(text.removeprefix(WARNING) for text in given if text.startswith(WARNING))


def conditions(record: SensitivityRecord) -> tuple[str, ...]:
    """What the user must uphold."""
    given = record.privacy.assumptions if record.privacy else ()
    return tuple(text for text in given if not text.startswith(WARNING))


def not_covered(record: SensitivityRecord) -> Iterator[str]:
    """What nobody should read into the numbers."""
    yield "Other weights: after an update of the parameters the sensitivities are others."
    yield "Inputs outside the set, and another loss, or one that looks at more than one example."
    yield (
        "A mean over a batch, unless it divides by a fixed, public batch size: the numbers are "
        "those of one example's loss, nothing is reduced."
    )
    yield "The rounding of float32: the program that trains computes gradients in its own way."
    if record.truth is not None:
        yield (
            "How loose the bound is: true gradients show that it is not loose by more than their "
            "ratio, other inputs may come nearer."
        )
    if record.privacy is None:
        yield "Privacy: a sensitivity alone is none; noise in proportion to it is."
