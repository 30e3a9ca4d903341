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
from typing import Any, NoReturn

import numpy as np

from .claims import Claim, Column
from .exact import CheckError, Integers, largest
from .positive import Refuted

FORMAT = "lipcert-proof/1"
MOST_BYTES = 1 << 30
MOST_CLAIMS = 5000
PARTS = {
    "proof": """format:text sha256:text norm:text region:text semantics:text model:model value:text
        lipschitz:rational claims:claim* samples:samples?""",
    "model": "sha256:text files:files",
    "claim": """target:text constant:rational pair:pair? torus:whole*? columns:column*?
        stages:stage*? factor:factor?""",
    "column": "signal:text remainder:truth share:rational",
    "stage": "stage:text mantissa:<u4 exponent:<i2",
    "factor": "side:whole entries:<i8",
    "samples": """sha256:text mean:rational* std:rational* classes:<i4 margins:<f8 radii:<f8""",
}
"""The keys of each part of the file and what each holds, ``*`` a list of these; with ``?`` it may
be left out, or null."""
MOST_DIGITS = 2000
"""Longest rational read."""
LEAST, LARGEST = Fraction(1, 1 << 1100), 1 << 1000
"""Of rationals that are not zero: a model of zeros has the constant ``2^-1074``."""


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


@dataclass(frozen=True)
class Model:
    """The sha256 of a model file, and of files beside it by name."""

    sha256: str
    files: dict[str, str]


@dataclass(frozen=True, eq=False)
class Proof:
    """A proof file's content.

    Parameters
    ----------
    semantics : "real" or "float32".
    value : the one that the Lipschitz constant is of.
    lipschitz : the constant claimed for it.
    claims : in the order in which they are checked.
    """

    model: Model
    semantics: str
    value: str
    lipschitz: Fraction
    claims: tuple[Claim, ...]
    samples: Samples | None = None


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
        proof: Proof = _read("proof", content)
        return proof
    except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise Refuted("the proof file lacks something, or holds it in another form") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands for two things")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")


def _read(kind: str, value: Any) -> Any:
    """A value of a kind in ``PARTS``, ``SIMPLE``, a list of some, or an array of numbers."""
    if kind.endswith("*"):
        if not isinstance(value, list):
            raise TypeError("list")
        if len(value) > MOST_CLAIMS:
            raise CheckError(f"a list of the proof is longer than {MOST_CLAIMS}")
        return tuple(_read(kind[:-1], one) for one in value)
    if kind.startswith("<"):
        found = np.frombuffer(base64.b64decode(_text(value), validate=True), dtype=kind)
        return found if found.dtype.kind == "f" else found.astype(np.int64)
    if kind in SIMPLE:
        return SIMPLE[kind](value)
    known = dict(entry.split(":") for entry in PARTS[kind].split())
    for key in value.keys() - known.keys():
        raise CheckError(f"the proof says something of its {kind} that is not covered: {key!r}")
    own = {key: k for key, k in known.items() if k[-1] != "?" or value.get(key) is not None}
    return MAKERS[kind](**{key: _read(k.rstrip("?"), value[key]) for key, k in own.items()})


def _proof(*, format: str, sha256: str, norm: str, region: str, **rest: Any) -> Proof:
    if (norm, region) != ("l2", "everywhere"):
        raise CheckError("only l2 constants that hold everywhere are covered")
    if rest["semantics"] not in ("real", "float32"):
        raise CheckError("the semantics of the proof are not covered")
    return Proof(**rest)


def _samples(**parts: Any) -> Samples:
    found = Samples(**parts)
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


def _files(value: Any) -> dict[str, str]:
    return {_text(name): _text(sha256) for name, sha256 in value.items()}


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def _pair(value: Any) -> tuple[int, int]:
    i, j = map(_whole, value)
    return i, j


def _rational(value: object) -> Fraction:
    """A rational "p/q"."""
    text = _text(value)
    if len(text) > MOST_DIGITS or not set(text) <= set("0123456789/-"):
        raise ValueError("rational")
    found = Fraction(text)
    if found and not LEAST <= abs(found) <= LARGEST:
        raise CheckError("a number of the proof is too large or too small")
    return found


def _triangle(side: int, entries: Integers) -> Integers:
    """A lower triangular matrix from its rows."""
    if side < 0 or entries.size != side * (side + 1) // 2 or largest(entries) >= 1 << 52:
        raise ValueError("triangle")
    matrix = np.zeros((side, side), dtype=np.int64)
    matrix[np.tril_indices(side)] = entries
    return matrix


def _stage(stage: str, mantissa: Integers, exponent: Integers) -> tuple[str, Integers, Integers]:
    return stage, mantissa, exponent


SIMPLE: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "whole": _whole,
    "truth": _truth,
    "rational": _rational,
    "pair": _pair,
    "files": _files,
}
MAKERS: dict[str, Callable[..., Any]] = {
    "proof": _proof,
    "model": Model,
    "claim": Claim,
    "column": Column,
    "stage": _stage,
    "factor": _triangle,
    "samples": _samples,
}
