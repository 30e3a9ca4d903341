"""What a result proves and what it does not, in sentences that HTML and Markdown share."""

from __future__ import annotations

from collections.abc import Iterator

from lipcert.reports.html.record import Record
from lipcert.reports.numbers import RADIUS, at_least, at_most
from lipcert.reports.words import OUTSIDE_FLOAT32, SEMANTICS, float32_cost, plural, proof_sentence

OWN_UNITS = "the data's own units"


def radius_text(value: float) -> str:
    """A radius, rounded downward."""
    return at_least(value, RADIUS)


def arithmetic(record: Record) -> str:
    """In what arithmetic the bound holds."""
    return SEMANTICS.get(record.semantics, f"in {record.semantics} arithmetic")


def proved(record: Record) -> str:
    """What a certified sample is."""
    return (
        f"No perturbation of {record.norm} norm up to ε changes the class of a certified sample: "
        f"proved {arithmetic(record)}."
    )


def attacked(record: Record) -> str:
    """What the attack was, and what its counts mean; "" without one."""
    if record.attack is None:
        return ""
    settings = ", ".join(_setting(*setting) for setting in record.attack.settings)
    return (
        f"Attacked by {record.attack.name.upper()} ({settings}). Each sample that it changes is a "
        "counterexample, so what it leaves is an upper bound: "
        "certified accuracy ≤ true robust accuracy ≤ attacked accuracy."
    )


def _setting(label: str, value: str) -> str:
    """``3 restarts``, ``seed 0``."""
    if label.endswith("s") and value.isdecimal():
        return plural(int(value), label.removesuffix("s"))
    return f"{label} {value}"


def proof_file(record: Record) -> str:
    """The proof file and what it certifies; "" where none was made."""
    if record.proof is None:
        return ""
    pairs = zip(record.levels, record.proof.certified, strict=True)
    return proof_sentence(
        record.proof, ((level.text, own, level.certified) for level, own in pairs)
    )


def digests(record: Record) -> Iterator[tuple[str, str, str]]:
    """What, its name, and its SHA-256: of the model, of the data, of the proof file."""
    yield "model", record.model, record.model_sha256
    yield "data", record.data, record.data_sha256
    if record.proof is not None:
        yield "proof", record.proof.file, record.proof.sha256


def observed(record: Record) -> Iterator[str]:
    """What the run saw that bears on how far the proof can be trusted."""
    lost = [level.real - level.certified for level in record.levels if level.real is not None]
    if lost:
        yield float32_cost(lost)
    yield (
        f"Predictions are those of ONNX Runtime, within {at_most(record.largest_deviation, 2)} "
        "(relative) of the certified evaluation."
    )
    count = record.disagreements
    if count:
        verb = "is" if count == 1 else "are"
        yield (
            f"{plural(count, 'sample')} {verb} classified differently by ONNX Runtime and in real "
            "arithmetic: radius 0."
        )
    else:
        yield "ONNX Runtime and real arithmetic choose the same class for every sample."
    if record.attack is not None and record.attack.rounded:
        count = record.attack.rounded
        yield (
            f"The class of {plural(count, 'sample')} changed inside the radius by the rounding of "
            "float32 alone: in real arithmetic it does not."
        )


def not_covered(record: Record) -> Iterator[str]:
    """What nobody should read into the numbers."""
    if record.semantics == "float32":
        yield f"{OUTSIDE_FLOAT32}."
    else:
        yield (
            "The rounding of float32: the program that runs the model rounds in its own way, and "
            "may decide a sample otherwise whose margin is of the order of that rounding."
        )
    yield f"Perturbations of another norm than {record.norm}, or larger than a sample's radius."
    yield "Other samples: the shares are those of this data set."
    if record.attack is not None:
        yield (
            "What the attack left uncertified: that an attack finds nothing proves nothing, "
            "another one may find more."
        )


def units_note(record: Record) -> str:
    """What ε and radii are measured in."""
    if record.units != OWN_UNITS:
        return f"ε and radii are measured in {record.units}."
    start = f"ε and radii are measured in {OWN_UNITS}"
    return f"{start}, before the normalisation." if record.normalization else f"{start}."


def normalization_text(record: Record) -> str:
    """The normalisation inside the certified map, or "none"."""
    parts = (
        f"{name} {', '.join(f'{value:g}' for value in values)}"
        for name, values in record.normalization
    )
    return ", ".join(parts) or "none"


def range_text(record: Record) -> str:
    """The range of valid data."""
    if record.input_range is None:
        return "not given: the proof holds on the whole space"
    low, high = record.input_range
    return f"{low:g} to {high:g}; the proof holds beyond it too"
