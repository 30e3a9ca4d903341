"""The proof file: JSON in UTF-8, numbers as rationals "p/q", arrays as base64 of integers.

The digest that the file carries is of all the rest: a file damaged on its way is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from .claims import Claim, Column
from .exact import CheckError, Integers
from .positive import Refuted

FORMAT = "lipcert-proof/1"
MOST_BYTES = 1 << 30
MOST_CLAIMS = 5000
MOST_DIGITS = 2000
"""Longest rational read."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What is claimed of a data set.

    Parameters
    ----------
    sha256 : of the data file.
    mean, std : what is subtracted from a sample, and what it is divided by, before the model.
    classes, margins, radii : of each sample; margin and radius 0 where nothing is certified.
    """

    sha256: str
    mean: tuple[Fraction, ...]
    std: tuple[Fraction, ...]
    classes: Integers
    margins: np.ndarray
    radii: np.ndarray


@dataclass(frozen=True, eq=False)
class Proof:
    """A proof file's content.

    Parameters
    ----------
    model_sha256 : of the model file; ``beside`` of files next to it, by name.
    semantics : "real" or "float32".
    value : the one that the Lipschitz constant is of.
    lipschitz : the constant claimed for it.
    claims : in the order in which they are checked.
    """

    model_sha256: str
    beside: dict[str, str]
    semantics: str
    value: str
    lipschitz: Fraction
    claims: tuple[Claim, ...]
    samples: Samples | None


def digest(content: dict[str, Any]) -> str:
    """The sha256 of everything in the file but the digest itself."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def read(data: bytes) -> Proof:
    """The proof in a file's bytes.

    Raises
    ------
    CheckError : of another format or version.
    Refuted : damaged, or not what the format says.
    """
    if len(data) > MOST_BYTES:
        raise CheckError(f"the proof is larger than {MOST_BYTES >> 20} MiB")
    try:
        content = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse,
            parse_float=_refuse,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:
        raise Refuted("the proof file is not JSON without decimal numbers") from error
    if not isinstance(content, dict):
        raise Refuted("the proof file holds no object")
    if content.get("format") != FORMAT:
        raise CheckError(f"the proof file is not of the format {FORMAT}")
    if content.get("sha256") != digest(content):
        raise Refuted("the proof file is damaged: its digest is not that of its content")
    try:
        return _proof(content)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Refuted("the proof file lacks something, or holds it in another form") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands for two things")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")


def _proof(content: dict[str, Any]) -> Proof:
    model, semantics = content["model"], content["semantics"]
    if content["norm"] != "l2" or content["region"] != "everywhere":
        raise CheckError("only l2 constants that hold everywhere are covered")
    if semantics not in ("real", "float32"):
        raise CheckError("the semantics of the proof are not covered")
    samples = content.get("samples")
    if len(content["claims"]) > MOST_CLAIMS:
        raise CheckError(f"the proof has more than {MOST_CLAIMS} claims")
    return Proof(
        _text(model["sha256"]),
        {_text(name): _text(value) for name, value in model["files"].items()},
        semantics,
        _text(content["value"]),
        rational(content["lipschitz"]),
        tuple(_claim(claim) for claim in content["claims"]),
        None if samples is None else _samples(samples),
    )


def _claim(content: dict[str, Any]) -> Claim:
    pair, torus, factor = content.get("pair"), content.get("torus"), content.get("factor")
    source = content.get("source")
    return Claim(
        _text(content["target"]),
        rational(content["constant"]),
        None if pair is None else (_whole(pair[0]), _whole(pair[1])),
        None if torus is None else tuple(_whole(side) for side in torus),
        tuple(
            Column(_text(column["signal"]), column["remainder"] is True, rational(column["share"]))
            for column in content.get("columns", ())
        ),
        tuple(
            (
                _text(stage["stage"]),
                array(stage["mantissa"], "<u4"),
                array(stage["exponent"], "<i2"),
            )
            for stage in content.get("stages", ())
        ),
        None
        if factor is None
        else triangle(array(factor["entries"], "<i8"), _whole(factor["side"])),
        None if source is None else _text(source),
    )


def _samples(content: dict[str, Any]) -> Samples:
    found = Samples(
        _text(content["sha256"]),
        tuple(rational(value) for value in content["mean"]),
        tuple(rational(value) for value in content["std"]),
        array(content["classes"], "<i4"),
        _floats(content["margins"]),
        _floats(content["radii"]),
    )
    if not len(found.classes) == len(found.margins) == len(found.radii):
        raise ValueError("lengths")
    if not all(value > 0 for value in found.std) or len(found.mean) != len(found.std):
        raise ValueError("normalisation")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 1 << 40:
        raise TypeError("whole number")
    return value


def rational(text: object) -> Fraction:
    """A rational "p/q"."""
    if not isinstance(text, str) or len(text) > MOST_DIGITS or not set(text) <= set("0123456789/-"):
        raise ValueError("rational")
    try:
        return Fraction(text)
    except ZeroDivisionError as error:
        raise ValueError("rational") from error


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(_text(text), validate=True)
    except binascii.Error as error:
        raise ValueError("base64") from error


def array(text: object, kind: str) -> Integers:
    """Integers from base64."""
    return np.frombuffer(_bytes(text), dtype=kind).astype(np.int64)


def _floats(text: object) -> np.ndarray:
    """Dyadic numbers, as IEEE doubles are; finite or infinite, not negative."""
    values = np.frombuffer(_bytes(text), dtype="<f8")
    if np.isnan(values).any() or (values < 0.0).any():
        raise ValueError("margins and radii")
    return values


def triangle(entries: Integers, side: int) -> Integers:
    """A lower triangular matrix from its rows."""
    if side < 0 or entries.size != side * (side + 1) // 2:
        raise ValueError("triangle")
    if entries.size and (int(entries.max()) >= 1 << 52 or int(entries.min()) <= -(1 << 52)):
        raise ValueError("triangle")
    matrix = np.zeros((side, side), dtype=np.int64)
    matrix[np.tril_indices(side)] = entries
    return matrix
