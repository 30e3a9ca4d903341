"""Words shared by the formats: names made printable, and sentences about what is proved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipcert.bounds.result import LipschitzBound, ProofFacts
    from lipcert.certification.result import Certificates
    from lipcert.reports.html.proof_record import ProofRecord

SEMANTICS = {
    "real": "in real arithmetic on the weights that the file holds",
    "float32": "for every IEEE-754 float32 evaluation of the file's nodes, in any order of "
    "summation, with or without fused multiply-add",
}
"""What a bound's ``semantics`` means."""
OUTSIDE_FLOAT32 = (
    "TF32, half precision and bfloat16, Winograd and FFT convolutions, flushing denormals to zero, "
    "and graph rewrites by the runtime that change weights, such as folding a BatchNormalization"
)
"""What is no IEEE-754 float32 evaluation of the nodes in a file."""
ITSELF = "the constant itself, up to rounding"
"""Remark on a bound that is exact."""
NORM_SIGNS = {"l1": "₁", "l2": "₂", "linf": "∞"}


def printable(name: str) -> str:
    """``name`` with control characters and lone surrogates escaped: safe on any terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def shortened(name: str, width: int) -> str:
    """``name`` in at most ``width`` characters: what is left out lies before the middle, as the
    ends of names tell them apart.  Both parts of an arrow are shortened.
    """
    if len(name) <= width:
        return name
    left, arrow, right = name.partition(" → ")
    if arrow and width >= 2 * len(arrow) + 3:
        room = width - len(arrow)
        most = max(room // 2, room - len(right))
        left = shortened(left, most)
        return f"{left}{arrow}{shortened(right, room - len(left))}"
    head = (width - 1) // 3
    tail = width - 1 - head
    return f"{name[:head]}…{name[len(name) - tail :]}" if width > 1 else "…"[:width]


def plural(count: int, one: str, many: str = "") -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def semantics_of(bound: LipschitzBound) -> str:
    """In what arithmetic a bound holds."""
    return SEMANTICS.get(bound.semantics, f"in {bound.semantics} arithmetic")


def subject(bound: LipschitzBound) -> str:
    """What a bound is of, or that there is none."""
    if bound.is_finite:
        return f"{bound.norm} Lipschitz constant"
    return f"no finite {bound.norm} bound"


def statement(bound: LipschitzBound, number: str) -> str:
    """The inequality that a finite bound of ``number`` proves."""
    sign = NORM_SIGNS.get(bound.norm, "")
    return f"‖f(x) − f(y)‖{sign} ≤ {number} · ‖x − y‖{sign} for all inputs x and y"


def certificate_statement(certificates: Certificates) -> str:
    """What a certified sample is."""
    return (
        f"No perturbation of {certificates.norm} norm up to ε changes the class of a certified "
        f"sample: proved {SEMANTICS[certificates.semantics]}."
    )


def float32_note(certificates: Certificates) -> str:
    """What float32 costs and what it leaves out, or "" in real arithmetic."""
    if certificates.semantics != "float32":
        return ""
    cost = float32_cost((entry.real or 0) - entry.count for entry in certificates.certified)
    return f"{cost} Not covered: {OUTSIDE_FLOAT32}.".lstrip()


def float32_cost(lost: Iterable[int]) -> str:
    """What float32 costs against real arithmetic: ``lost`` samples at each ε; "" without any ε."""
    worst = max(lost, default=None)
    if worst is None:
        return ""
    most = f"at most {plural(worst, 'sample')} at one ε" if worst else "no sample"
    return f"Against real arithmetic float32 costs {most}."


def proof_note(certificates: Certificates) -> str:
    """What the proof file proves of the counts, or "" where none was made."""
    proof = certificates.proof
    if proof is None:
        return ""
    pairs = zip(certificates.certified, certificates.proved, strict=True)
    return proof_sentence(proof, ((entry.eps_text, own, entry.count) for entry, own in pairs))


def proof_sentence(proof: ProofFacts | ProofRecord, counts: Iterable[tuple[str, int, int]]) -> str:
    """The proof file, and what it certifies: for each ε its text, and n of m samples."""
    listed = ", ".join(f"{own} of {count} at {text}" for text, own, count in counts)
    shown = f": it certifies {listed}" if listed else ""
    size = f"{plural(proof.claims, 'claim')} and {proof.size:,} bytes"
    named = file_text(proof)
    return f"The proof file {f'{named} ' if named else ''}has {size}{shown}."


def file_text(proof: ProofFacts | ProofRecord) -> str:
    """``net.proof (lipcert-proof/1)``, with what is known of the two."""
    known = f"({proof.format})" if proof.format else ""
    return printable(f"{proof.file} {known}".strip())


def attack_note(certificates: Certificates) -> str:
    """What an attack was made of and what it shows, or "" where there was none."""
    attack = certificates.attack
    if attack is None:
        return ""
    note = (
        f"Attacked by {attack.name.upper()} ({attack.steps} steps, "
        f"{plural(attack.restarts, 'restart')}, seed {attack.seed}): the true accuracy lies "
        "between what is certified and what the attack leaves."
    )
    if certificates.rounded:
        note += (
            f" The float32 rounding of ONNX Runtime alone changes the class of "
            f"{plural(certificates.rounded, 'sample')} inside the radius, which holds in real "
            "arithmetic."
        )
    return note


def disagreement_note(certificates: Certificates) -> str:
    """A sentence on samples that ONNX Runtime and real arithmetic classify differently, or ""."""
    count = certificates.disagreements
    if not count:
        return ""
    verb = "is" if count == 1 else "are"
    return (
        f"{plural(count, 'sample')} {verb} classified differently by ONNX Runtime and in real "
        "arithmetic: radius 0."
    )


def searched_lower(bound: LipschitzBound) -> float | None:
    """The lower bound, None where none was searched for or found."""
    return bound.lower if bound.lower > 0.0 else None


def exactness(bound: LipschitzBound) -> float | None:
    """Bound over lower bound, None where either is missing."""
    if searched_lower(bound) is None or not math.isfinite(bound.value):
        return None
    return bound.ratio
