"""The journal of a run: what is done is on disk, so that a run that was killed goes on from there.

A text file of records, one a line: a digest, a space, and a JSON object.  The first says what the
run is, the second what was proved before the samples, each further one the results of a shard.  A
record counts only if its digest is right: a line that was being written when the power failed is
cut off.  Floats are kept as the bytes that they are, so what is read is what was written.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from lipcert.certification.certificates import Judged
from lipcert.certification.shards import Shard, ShardResult, Witness
from lipcert.errors import InputError

SCHEMA = "lipcert/journal/1"
LONGEST = 1 << 28
"""Bytes of a line beyond which a file is no journal."""
ARRAYS = {
    "predictions": np.int64,
    **dict.fromkeys(("margins", "radii", "values", "real"), np.float64),
}
NUMBERS = ("error", "disagreements", "deviation")


class Journal:
    """An open journal.

    Parameters
    ----------
    path : of the file, made where there is none.
    run : what must be the same for a journal to be of this run.

    Raises InputError for a file that is no journal, is of another run, or is in use.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        self.proved: dict[str, Any] | None = None
        self.results: dict[Shard, ShardResult] = {}
        self._file = self._opened()
        try:
            self._read({"schema": SCHEMA, **run})
        except BaseException:
            self._file.close()
            raise

    def _opened(self) -> BinaryIO:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0))
            file = os.fdopen(descriptor, "r+b")
        except (OSError, ValueError) as error:
            found = getattr(error, "strerror", None) or error
            raise self._error(f"cannot be opened: {found}", "name a file to write") from error
        if not _locked(file):
            file.close()
            raise self._error("is in use by another run", "wait for it, or name another file")
        return file

    def _read(self, run: dict[str, Any]) -> None:
        """Take in all whole records, and cut off what follows them."""
        whole = 0
        records = 0
        while line := self._file.readline(LONGEST):
            record = _record(line)
            if record is None:
                break
            if records == 0:
                self._check(record, run)
            elif records == 1:
                self.proved = record
            else:
                result = _result(record)
                self.results[result.shard] = result
            whole += len(line)
            records += 1
        if records == 0:
            self._begin(run)
        else:
            self._file.seek(whole)
            self._file.truncate()

    def _begin(self, run: dict[str, Any]) -> None:
        """Write the first record, over nothing or over what was cut off of the same one."""
        self._file.seek(0)
        line = _line(run)
        if not line.startswith(self._file.read(len(line) + 1)):
            raise self._error("is not a journal of lipcert", "name another file for --resume")
        self._file.seek(0)
        self._write(run)

    def _check(self, found: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        if found.get("schema") != SCHEMA:
            raise self._error("is not a journal of lipcert", "name another file for --resume")
        expected = json.loads(json.dumps(run))
        differing = [key for key in expected if found.get(key) != expected[key]]
        if differing:
            raise self._error(
                f"is of another run: it differs in {', '.join(differing)}",
                "name another file, or delete it to begin again",
            )

    def prove(self, proved: Mapping[str, Any]) -> None:
        """Record what was proved before the samples."""
        self.proved = dict(proved)
        self._write(self.proved)

    def add(self, result: ShardResult) -> None:
        """Record the results of a shard; when this returns they are on disk."""
        self.results[result.shard] = result
        self._write(_object(result))

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            self._file.write(_line(record))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            found = error.strerror or error
            raise self._error(f"cannot be written: {found}", "free some space") from error

    def _error(self, finding: str, remedy: str) -> InputError:
        return InputError(f"--resume {self.path}", finding, remedy)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _locked(file: BinaryIO) -> bool:
    """Take the file for this process alone, where the system can; it ends with the process."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:32].encode()


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record).encode()
    return _digest(text) + b" " + text + b"\n"


def _record(line: bytes) -> dict[str, Any] | None:
    """The object of a line that is whole, else None."""
    digest, _, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or digest != _digest(text):
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def _object(result: ShardResult) -> dict[str, Any]:
    judged = result.judged
    return {
        "start": result.shard.start,
        "stop": result.shard.stop,
        **{name: _packed(getattr(judged, name), kind) for name, kind in ARRAYS.items()},
        **{name: getattr(judged, name) for name in NUMBERS},
        "adversarial": _packed(result.adversarial, np.float64),
        "rounded": result.rounded,
        "witness": result.witness and _witness_object(result.witness),
    }


def _result(record: Mapping[str, Any]) -> ShardResult:
    arrays: dict[str, Any] = {n: _unpacked(record[n], kind) for n, kind in ARRAYS.items()}
    return ShardResult(
        Shard(record["start"], record["stop"]),
        Judged(**arrays, **{name: record[name] for name in NUMBERS}),
        _unpacked(record["adversarial"], np.float64),
        record["rounded"],
        record["witness"] and _witness(record["witness"]),
    )


def _witness_object(witness: Witness) -> dict[str, Any]:
    return {
        "index": witness.index,
        "label": witness.label,
        "shape": list(witness.sample.shape),
        "sample": _packed(witness.sample, np.float64),
        "perturbed": _packed(witness.perturbed, np.float64),
        "size": witness.size,
        "radius": witness.radius,
    }


def _witness(record: Mapping[str, Any]) -> Witness:
    sample, perturbed = (
        np.frombuffer(base64.b64decode(record[name]), dtype="<f8").reshape(record["shape"])
        for name in ("sample", "perturbed")
    )
    index, label, size, radius = (record[name] for name in ("index", "label", "size", "radius"))
    return Witness(index, label, sample, perturbed, size, radius)


def _packed(array: np.ndarray | None, kind: type) -> str | None:
    if array is None:
        return None
    little = array.astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def _unpacked(text: str | None, kind: type) -> np.ndarray | None:
    if text is None:
        return None
    stored = np.frombuffer(base64.b64decode(text), dtype=np.dtype(kind).newbyteorder("<"))
    return stored.astype(kind)
