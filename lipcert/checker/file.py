"""The proof file: JSON in UTF-8, numbers as rationals "p/q", arrays as base64 of integers.

The digest that the file carries is of all the rest: a file damaged on its way is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, NoReturn, TypeVar

import numpy as np

from .claims import Claim, Column
from .exact import CheckError, Integers, largest
from .positive import Refuted

T = TypeVar("T")

FORMAT = "lipcert-proof/1"
MOST_BYTES = 1 << 30
MOST_CLAIMS = 5000
KEYS = {
    "proof": "format sha256 model norm region semantics value lipschitz claims samples",
    "model": "sha256 files",
    "claim": "target constant pair torus columns stages factor",
    "column": "signal remainder share",
    "stage": "stage mantissa exponent",
    "factor": "side entries",
    "samples": "sha256 mean std classes margins radii",
}
"""All that each part of the file may say."""
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
    except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise Refuted("the proof file lacks something, or holds it in another form") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands for two things")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")


def _proof(content: dict[str, Any]) -> Proof:
    _check_keys("proof", content)
    model, semantics = _check_keys("model", content["model"]), content["semantics"]
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
        _rational(content["lipschitz"]),
        tuple(_claim(claim) for claim in content["claims"]),
        None if samples is None else _samples(samples),
    )


def _check_keys(part: str, content: dict[str, Any]) -> dict[str, Any]:
    """A part of the file.  Raises CheckError where it says what nobody would check."""
    for key in content.keys() - KEYS[part].split():
        raise CheckError(f"the proof says something of its {part} that is not covered: {key!r}")
    return content


def _claim(content: dict[str, Any]) -> Claim:
    def optional(key: str, read: Callable[[Any], T]) -> T | None:
        return None if content.get(key) is None else read(content[key])

    _check_keys("claim", content)
    return Claim(
        _text(content["target"]),
        _rational(content["constant"]),
        optional("pair", _pair),
        optional("torus", lambda sides: tuple(map(_whole, sides))),
        tuple(
            Column(_text(column["signal"]), column["remainder"] is True, _rational(column["share"]))
            for column in map(partial(_check_keys, "column"), content.get("columns", ()))
        ),
        tuple(
            (_text(s["stage"]), _integers(s["mantissa"], "<u4"), _integers(s["exponent"], "<i2"))
            for s in map(partial(_check_keys, "stage"), content.get("stages", ()))
        ),
        optional("factor", _triangle),
    )


def _samples(content: dict[str, Any]) -> Samples:
    _check_keys("samples", content)
    found = Samples(
        _text(content["sha256"]),
        tuple(map(_rational, content["mean"])),
        tuple(map(_rational, content["std"])),
        _integers(content["classes"], "<i4"),
        _array(content["margins"], "<f8"),
        _array(content["radii"], "<f8"),
    )
    if not len(found.classes) == len(found.margins) == len(found.radii):
        raise ValueError("lengths")
    if not ((found.margins >= 0.0).all() and (found.radii >= 0.0).all()):
        raise ValueError("margins and radii")
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


def _pair(value: Any) -> tuple[int, int]:
    i, j = map(_whole, value)
    return i, j


def _rational(value: object) -> Fraction:
    """A rational "p/q"."""
    text = _text(value)
    if len(text) > MOST_DIGITS or not set(text) <= set("0123456789/-"):
        raise ValueError("rational")
    return Fraction(text)


def _array(text: object, kind: str) -> np.ndarray:
    """Numbers from base64."""
    return np.frombuffer(base64.b64decode(_text(text), validate=True), dtype=kind)


def _integers(text: object, kind: str) -> Integers:
    return _array(text, kind).astype(np.int64)


def _triangle(content: dict[str, Any]) -> Integers:
    """A lower triangular matrix from its rows."""
    _check_keys("factor", content)
    entries, side = _integers(content["entries"], "<i8"), _whole(content["side"])
    if side < 0 or entries.size != side * (side + 1) // 2 or largest(entries) >= 1 << 52:
        raise ValueError("triangle")
    matrix = np.zeros((side, side), dtype=np.int64)
    matrix[np.tril_indices(side)] = entries
    return matrix
