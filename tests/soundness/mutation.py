"""Mutants of proofs: edits that must be refused, and edits that are refused or leave the truth."""

from __future__ import annotations

import base64
import copy
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from proofs import Case, flipped_weight, sha256

from lipcert.checker import check
from lipcert.checker.file import digest
from lipcert.onnx_import import build_graph, parse_model

LESS = 1 - Fraction(1, 10**6)
Content = dict[str, Any]
Edit = Callable[[Content, np.random.Generator], bool]
"""Changes a proof; False where there is nothing of that kind in it."""


@dataclass(frozen=True, eq=False)
class Mutant:
    """A case with one change.

    Parameters
    ----------
    kind : of the change.
    must : whether it has to be refused; otherwise what is still proved has to be true.
    """

    kind: str
    must: bool
    case: Case
    proof: bytes
    model: bytes
    data: bytes

    def status(self, folder: Path) -> str:
        """What the checker says."""
        proof, model, data = self.case.write(folder, self.proof)
        model.write_bytes(self.model)
        data.write_bytes(self.data)
        return check(proof, model, data).status


def one(rng: np.random.Generator, found: list[Any]) -> Any:
    return found[int(rng.integers(len(found)))] if found else None


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind).copy()


def coded(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def flip(values: np.ndarray, rng: np.random.Generator) -> str:
    """The numbers with one bit turned, in base64."""
    raw = bytearray(values.tobytes())
    bit = int(rng.integers(8 * len(raw)))
    raw[bit // 8] ^= 1 << bit % 8
    return base64.b64encode(bytes(raw)).decode()


# edits that must be refused


def shrink_constant(proof: Content, rng: np.random.Generator) -> bool:
    claim = one(rng, [*proof["claims"], proof])
    key = "lipschitz" if claim is proof else "constant"
    claim[key] = str(Fraction(claim[key]) * LESS)
    return True


def grow_sample(proof: Content, rng: np.random.Generator) -> bool:
    samples, key = proof["samples"], one(rng, ["margins", "radii"])
    values = numbers(samples[key], "<f8")
    place = one(rng, np.flatnonzero(values > 0.0).tolist())
    if place is None:
        return False
    values[place] *= 1.0 + 1e-6
    samples[key] = coded(values)
    return True


def other_class(proof: Content, rng: np.random.Generator) -> bool:
    samples = proof["samples"]
    values, radii = numbers(samples["classes"], "<i4"), numbers(samples["radii"], "<f8")
    place = one(rng, np.flatnonzero(radii > 0.0).tolist())
    if place is None:
        return False
    values[place] ^= 1 << int(rng.integers(31))
    samples["classes"] = coded(values)
    return True


def drop_evidence(proof: Content, rng: np.random.Generator) -> bool:
    held = [
        (claim, key)
        for claim in proof["claims"]
        for key in ("columns", "stages", "torus")
        if claim.get(key)
    ]
    claim, key = one(rng, held) or (None, "")
    if claim is None:
        return False
    if key == "torus" or len(claim[key]) == 1:
        del claim[key]
    else:
        claim[key].pop(int(rng.integers(len(claim[key]))))
    return True


def drop_claim(proof: Content, rng: np.random.Generator) -> bool:
    """A claim of a whole value: the constant rests on each of them."""
    whole = [c for c in proof["claims"] if "pair" not in c]
    chosen = one(rng, whole)
    if chosen is None:
        return False
    proof["claims"].remove(chosen)
    return True


def other_sha(proof: Content, rng: np.random.Generator) -> bool:
    holder = one(rng, [proof["model"], proof["samples"]])
    text = list(holder["sha256"])
    place = int(rng.integers(len(text)))
    text[place] = one(rng, [c for c in "0123456789abcdef" if c != text[place]])
    holder["sha256"] = "".join(text)
    return True


def other_words(proof: Content, rng: np.random.Generator) -> bool:
    key = one(rng, ["format", "norm", "region", "semantics", "value"])
    proof[key] = one(rng, ["linf", "box", "float16", "lipcert-proof/2", "nowhere", "", 1, None])
    return True


def more_than_all(proof: Content, rng: np.random.Generator) -> bool:
    """A share that makes them more than the whole."""
    claim = one(rng, [c for c in proof["claims"] if c.get("columns")])
    if claim is None:
        return False
    column = one(rng, claim["columns"])
    column["share"] = str(Fraction(column["share"]) + Fraction(1, 10**6))
    return True


MUST: dict[str, Edit] = {
    "constant shrunk by 1e-6": shrink_constant,
    "margin or radius grown by 1e-6": grow_sample,
    "class": other_class,
    "column, stages or torus dropped": drop_evidence,
    "claim dropped": drop_claim,
    "sha256": other_sha,
    "format, norm, region, semantics, value": other_words,
    "shares beyond the whole": more_than_all,
}

# edits that are refused or leave the truth


def of_claims(change: Callable[[Content, np.random.Generator], bool]) -> Edit:
    def edit(proof: Content, rng: np.random.Generator) -> bool:
        claim = one(rng, proof["claims"])
        return claim is not None and change(claim, rng)

    return edit


def share(claim: Content, rng: np.random.Generator) -> bool:
    column = one(rng, claim.get("columns", []))
    if column is None:
        return False
    value = Fraction(column["share"])
    column["share"] = str(one(rng, [value * LESS, value / 2, value**2, -value, Fraction(0)]))
    return True


def stage_bit(claim: Content, rng: np.random.Generator) -> bool:
    stage = one(rng, claim.get("stages", []))
    if stage is None:
        return False
    key, kind = one(rng, [("mantissa", "<u4"), ("exponent", "<i2")])
    stage[key] = flip(numbers(stage[key], kind), rng)
    return True


def factor_bit(claim: Content, rng: np.random.Generator) -> bool:
    factor = claim.get("factor")
    if factor is None:
        return False
    if rng.random() < 0.1:
        factor["side"] += int(rng.integers(-2, 3))
        return True
    factor["entries"] = flip(numbers(factor["entries"], "<i8"), rng)
    return True


def torus_side(claim: Content, rng: np.random.Generator) -> bool:
    if "torus" not in claim:
        return False
    claim["torus"][int(rng.integers(len(claim["torus"])))] += int(rng.choice([-3, -2, -1, 1, 2]))
    return True


def pair_index(claim: Content, rng: np.random.Generator) -> bool:
    if "pair" not in claim:
        return False
    if rng.random() < 0.3:
        del claim["pair"]
        return True
    claim["pair"][int(rng.integers(2))] = int(rng.integers(-2, 5))
    return True


def names(claim: Content, rng: np.random.Generator) -> bool:
    """Another value in place of one that a claim names."""
    places = [(claim, "target"), *((c, "signal") for c in claim.get("columns", []))]
    places += [(s, "stage") for s in claim.get("stages", [])]
    places += [(claim, "source")] if rng.random() < 0.3 else []  # a key that means nothing
    holder, key = one(rng, places)
    holder[key] = one(rng, ["x", "v", "h", "y", "z", "u", "s", "f", "v0", "h1", "v/in", "nothing"])
    return True


def remainder(claim: Content, rng: np.random.Generator) -> bool:
    column = one(rng, claim.get("columns", []))
    if column is None:
        return False
    column["remainder"] = not column["remainder"]
    return True


def constant_digit(claim: Content, rng: np.random.Generator) -> bool:
    text = list(claim["constant"])
    place = one(rng, [k for k, c in enumerate(text) if c.isdigit()])
    text[place] = str(int(rng.integers(10)))
    claim["constant"] = "".join(text)
    return True


def other_kind(claim: Content, rng: np.random.Generator) -> bool:
    """A claim that says two things at once."""
    extra: Content = one(
        rng,
        [
            {"pair": [0, 1]},
            {"source": one(rng, ["v", "h", "x"])},
            {"torus": [3, 3]},
            {"factor": None},
            {"columns": [{"signal": "x", "remainder": False, "share": "1"}]},
        ],
    )
    claim.update(extra)
    return True


def drop_pair(proof: Content, rng: np.random.Generator) -> bool:
    held = [c for c in proof["claims"] if "pair" in c]
    if not held:
        return False
    proof["claims"].remove(one(rng, held))
    return True


def shuffled(proof: Content, rng: np.random.Generator) -> bool:
    order = rng.permutation(len(proof["claims"]))
    proof["claims"] = [proof["claims"][k] for k in order]
    return len(order) > 1


def sample_bit(proof: Content, rng: np.random.Generator) -> bool:
    key = one(rng, ["margins", "radii"])
    proof["samples"][key] = flip(numbers(proof["samples"][key], "<f8"), rng)
    return True


def meaning(proof: Content, rng: np.random.Generator) -> bool:
    proof["semantics"] = "real" if proof["semantics"] == "float32" else "float32"
    return True


def normalised(proof: Content, rng: np.random.Generator) -> bool:
    samples = proof["samples"]
    key = one(rng, ["mean", "std"])
    if samples[key]:
        samples[key] = [str(Fraction(samples[key][0]) * one(rng, [LESS, 2 - LESS, 2]))]
    else:
        samples["mean"], samples["std"] = ["0"], [one(rng, ["3/2", "1000001/1000000"])]
    return True


EITHER: dict[str, Edit] = {
    "share": of_claims(share),
    "bit of a weight of the inequality": of_claims(stage_bit),
    "bit of a factor, or its side": of_claims(factor_bit),
    "torus side": of_claims(torus_side),
    "pair": of_claims(pair_index),
    "name of a value": of_claims(names),
    "remainder": of_claims(remainder),
    "digit of a constant": of_claims(constant_digit),
    "claim of two kinds": of_claims(other_kind),
    "claim of a pair dropped": drop_pair,
    "order of claims": shuffled,
    "bit of a margin or radius": sample_bit,
    "semantics": meaning,
    "normalisation": normalised,
}


def encoded(proof: Content) -> bytes:
    return json.dumps(proof).encode()


def edited(case: Case, kind: str, rng: np.random.Generator, *, must: bool) -> Mutant | None:
    """A mutant whose digest is made anew; None where there is nothing to edit."""
    proof = copy.deepcopy(case.proof)
    table = MUST if must else EITHER
    if not table[kind](proof, rng) or proof == case.proof:
        return None
    proof["sha256"] = digest(proof)
    return Mutant(kind, must, case, encoded(proof), case.content, case.data)


def stale(case: Case, rng: np.random.Generator) -> Mutant | None:
    """Any edit, with the digest left as it was."""
    table = MUST | EITHER
    proof = copy.deepcopy(case.proof)
    if not table[one(rng, list(table))](proof, rng) or proof == case.proof:
        return None
    return Mutant("edit, digest left", True, case, encoded(proof), case.content, case.data)


def bit_of_file(case: Case, rng: np.random.Generator) -> Mutant:
    """One bit of the proof, the model or the data."""
    files = [encoded(case.proof), case.content, case.data]
    which = int(rng.integers(3))
    raw = bytearray(files[which])
    bit = int(rng.integers(8 * len(raw)))
    raw[bit // 8] ^= 1 << bit % 8
    files[which] = bytes(raw)
    return Mutant(f"bit of the {('proof', 'model', 'data')[which]}", True, case, *files)


def other_model(case: Case, rng: np.random.Generator) -> Mutant:
    """One bit of a weight, with the model's sha256 and the digest made anew."""
    model = flipped_weight(case.content, rng)
    proof = copy.deepcopy(case.proof)
    proof["model"]["sha256"] = sha256(model)
    proof["sha256"] = digest(proof)
    return Mutant(
        "bit of a model's weight, sha256 anew", False, case, encoded(proof), model, case.data
    )


def mutants(case: Case, rng: np.random.Generator, *, must: bool) -> Iterator[Mutant]:
    """Mutants without end, of all kinds in turn."""
    while True:
        if must:
            yield bit_of_file(case, rng)
        found = [edited(case, kind, rng, must=must) for kind in (MUST if must else EITHER)]
        found.append(stale(case, rng) if must else other_model(case, rng))
        yield from (mutant for mutant in found if mutant is not None)


def implied(mutant: Mutant) -> bool:
    """Whether the original says as much as the mutant does."""
    if mutant.model != mutant.case.content or mutant.data != mutant.case.data:
        return False
    old, new = mutant.case.proof, json.loads(mutant.proof)
    same = all(old[key] == new[key] for key in ("value", "norm", "region", "model"))
    weaker = old["semantics"] == new["semantics"] or new["semantics"] == "real"
    samples, held = old["samples"], new["samples"]
    same = same and all(samples[key] == held[key] for key in ("mean", "std", "classes"))
    less = all(
        (numbers(held[key], "<f8") <= numbers(samples[key], "<f8")).all()
        for key in ("margins", "radii")
    )
    return same and weaker and less and Fraction(new["lipschitz"]) >= Fraction(old["lipschitz"])


def true(mutant: Mutant) -> bool:
    """Whether nothing speaks against what a mutant claims: slopes, margins, attacks."""
    if implied(mutant):
        return True
    proof = json.loads(mutant.proof)
    graph = build_graph(parse_model(mutant.model, "mutant"), name="mutant")
    samples = proof["samples"]
    mean, std = (float(Fraction((samples[k] or [d])[0])) for k, d in (("mean", 0), ("std", 1)))
    if proof["value"] != "y":
        graph = graph.ending_at(proof["value"])
    x = (np.load(io.BytesIO(mutant.data))["x"].astype(np.float64) - mean) / std
    steepest = max(steepness(graph, torch.from_numpy(point)) for point in x)
    if steepest * (1.0 - 1e-12) / std > float(Fraction(proof["lipschitz"])):
        return False
    classes, margins, radii = (
        numbers(samples[key], kind)
        for key, kind in (("classes", "<i4"), ("margins", "<f8"), ("radii", "<f8"))
    )
    return all(
        survives(graph, torch.from_numpy(point), int(c), float(m), float(r) / std)
        for point, c, m, r in zip(x, classes, margins, radii, strict=True)
        if m > 0.0 or r > 0.0
    )


def steepness(graph: Any, x: torch.Tensor) -> float:
    """The norm of the Jacobian at a point."""
    jacobian = torch.autograd.functional.jacobian(lambda point: graph.evaluate(point[None]), x)
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, x.numel()), 2))


def survives(graph: Any, x: torch.Tensor, own: int, margin: float, radius: float) -> bool:
    """Whether a class, a margin and a radius stand at a sample and under attack."""

    def behind(point: torch.Tensor) -> torch.Tensor:
        logits = graph.evaluate(point[None]).reshape(-1)
        if len(logits) == 1:
            return logits if own == 1 else -logits
        return torch.stack([logits[own] - one for k, one in enumerate(logits) if k != own])

    at = behind(x)
    if float(at.min()) < margin * (1.0 - 1e-9):
        return False
    jacobian = torch.autograd.functional.jacobian(behind, x).reshape(len(at), -1)
    for row in (*jacobian, *torch.randn(4, x.numel(), dtype=x.dtype)):
        step = row / row.norm().clamp(min=1e-30) * min(radius, 1e9) * (1.0 - 1e-9)
        if float(behind(x - step.reshape(x.shape)).min()) < 0.0:
            return False
    return True
