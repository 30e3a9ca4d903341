"""The bytes of a proof file; :mod:`lipcert.checker.file` reads them and says what they mean."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lipcert.checker.claims import Claim
from lipcert.checker.file import FORMAT, Samples, digest
from lipcert.checker.wire import File
from lipcert.checker.wire import read as read_model
from lipcert.errors import InputError


@dataclass(frozen=True, eq=False)
class Model:
    """A model file as the checker reads it, and the digests that tie a proof to it."""

    name: str
    file: File
    sha256: str
    beside: dict[str, str]


def read(path: Path) -> Model:
    """A model file.

    Raises CheckError for what the checker does not read, InputError for what cannot be opened.
    """
    try:
        content = path.read_bytes()
        file = read_model(content, path.parent)
        beside = {name: _sha256((path.parent / name).read_bytes()) for name in file.beside}
    except OSError as error:
        reason = error.strerror or error
        raise InputError(str(path), f"cannot be read: {reason}", "name an ONNX file") from error
    return Model(path.name, file, _sha256(content), beside)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def proof_file(
    model: Model,
    value: str,
    constant: Fraction,
    claims: Sequence[Claim],
    *,
    semantics: str = "real",
    samples: Samples | None = None,
) -> bytes:
    """A proof file.

    Parameters
    ----------
    value : of the network, the one that ``constant`` is of.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "model": {"sha256": model.sha256, "files": model.beside},
        "norm": "l2",
        "region": "everywhere",
        "semantics": semantics,
        "value": value,
        "lipschitz": str(constant),
        "claims": [_claim(claim) for claim in claims],
    }
    if samples is not None:
        content["samples"] = _samples(samples)
    content["sha256"] = digest(content)
    return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _claim(claim: Claim) -> dict[str, Any]:
    found: dict[str, Any] = {"target": claim.target, "constant": str(claim.constant)}
    if claim.pair is not None:
        found["pair"] = list(claim.pair)
    if claim.torus is not None:
        found["torus"] = list(claim.torus)
    if claim.columns:
        found["columns"] = [
            {"signal": one.signal, "remainder": one.remainder, "share": str(one.share)}
            for one in claim.columns
        ]
    if claim.stages:
        found["stages"] = [
            {"stage": name, "mantissa": array(m, "<u4"), "exponent": array(e, "<i2")}
            for name, m, e in claim.stages
        ]
    if claim.factor is not None:
        side = len(claim.factor)
        entries = claim.factor[np.tril_indices(side)]
        found["factor"] = {"side": side, "entries": array(entries, "<i8")}
    return found


def _samples(samples: Samples) -> dict[str, Any]:
    return {
        "sha256": samples.sha256,
        "mean": [str(value) for value in samples.mean],
        "std": [str(value) for value in samples.std],
        "classes": array(samples.classes, "<i4"),
        "margins": array(samples.margins, "<f8"),
        "radii": array(samples.radii, "<f8"),
    }


def array(values: np.ndarray, kind: str) -> str:
    """Numbers in base64."""
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode("ascii")
