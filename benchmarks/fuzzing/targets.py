"""What is fuzzed: for each target its seeds, how they are damaged, and what reads the result."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from .archives import edited_gzip, edited_npy, edited_zip
from .damage import damaged
from .documents import edited_json
from .messages import edited
from .seeds import X, Y, perceptron

Damager = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
Reader = Callable[[Path, bytes], None]


class RefusedError(Exception):
    """A verdict that is no proof."""


@dataclass(frozen=True)
class Target:
    """One thing that reads files.

    Parameters
    ----------
    seeds : the kind of its seeds.
    damage : makes an input of a seed.
    read : is called with an empty folder and the input; it may raise what refuses a file.
    """

    seeds: str
    damage: Damager
    read: Reader


TARGETS: dict[str, Target] = {}
MOST_BOUNDED = 1 << 12
"""Largest tensor of models that are bounded: what that takes grows with the model."""


def target(name: str, seeds: str, damage: Damager) -> Callable[[Reader], Reader]:
    def enter(read: Reader) -> Reader:
        TARGETS[name] = Target(seeds, damage, read)
        return read

    return enter


def either(first: Damager, second: Damager) -> Damager:
    """The one or the other."""
    return lambda content, rng, others: rng.choice((first, second))(content, rng, others)


def model_damage(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Of the bytes, or of the parsed model."""
    return damaged(content, rng, others) if rng.random() < 0.3 else edited(content, rng)


def json_damage(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return damaged(content, rng, others) if rng.random() < 0.3 else edited_json(content, rng)


@contextmanager
def written(folder: Path, **files: bytes) -> Iterator[list[Path]]:
    """Files in a folder for a while; ``__`` in a name stands for a point."""
    paths = [folder / name.replace("__", ".") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    try:
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


# --- models ------------------------------------------------------------------------------------


@target("model", "model", model_damage)
def read_model(folder: Path, content: bytes) -> None:
    import lipcert

    with written(folder, m__onnx=content, w__data=bytes(96)) as (path, _):
        lipcert.load(path)


@target("bound", "model", model_damage)
def bound_model(folder: Path, content: bytes) -> None:
    import lipcert

    with written(folder, m__onnx=content, w__data=bytes(96)) as (path, _):
        graph = lipcert.load(path)
        if max([math.prod(node.shape) for node in graph.nodes], default=0) > MOST_BOUNDED:
            return
        lipcert.bound(path, method="autolip", lower_seconds=0.05, time_limit=2.0)


# --- proofs ------------------------------------------------------------------------------------


def signed(content: bytes) -> bytes:
    """A proof with the digest that it should have, where it is JSON."""
    import json

    from lipcert.checker import file

    try:
        document = json.loads(content)
        document["sha256"] = file.digest(document)
        return json.dumps(document).encode()
    except (AttributeError, ValueError, TypeError, RecursionError):
        return content


def _judge(folder: Path, proof: bytes, model: bytes) -> None:
    from lipcert.checker import check

    with written(folder, p__json=proof, m__onnx=model, w__data=bytes(96)) as (path, held, _):
        verdict = check(path, held)
    assert verdict.exit_code in (0, 1, 7)
    if verdict.status != "proved":
        raise RefusedError(verdict.why)
    assert isinstance(verdict.constant, Fraction)


@target("proof", "proof", lambda *given: signed(json_damage(*given)))
def check_proof(folder: Path, content: bytes) -> None:
    _judge(folder, content, perceptron().SerializeToString())


@target("proof-model", "model", model_damage)
def check_model(folder: Path, content: bytes) -> None:
    """A sound proof about a damaged model: the digest is made to fit."""
    import hashlib
    import json

    claim = {"target": "h", "constant": "40/1", "columns": [
        {"signal": "x", "remainder": False, "share": "1/1"}]}  # fmt: skip
    files = {"w.data": hashlib.sha256(bytes(96)).hexdigest()}
    document = {
        "format": "lipcert-proof/1", "norm": "l2", "region": "everywhere",
        "model": {"sha256": hashlib.sha256(content).hexdigest(), "files": files},
        "semantics": "real", "value": "y", "lipschitz": "100/1",
        "claims": [claim] if len(content) % 2 else [],
    }  # fmt: skip
    _judge(folder, signed(json.dumps(document).encode()), content)


# --- data --------------------------------------------------------------------------------------


def _read(path: Path, labels: Path | None = None) -> None:
    """Open a data set, read its first and last samples, and hash it."""
    from lipcert.certification.data import open_dataset

    with open_dataset(path, labels=labels) as data:
        assert len(data) == len(data.y) > 0
        data.read(0, min(4, len(data)))
        data.read(max(0, len(data) - 4), len(data))
        data.digest()
        data.signature()


def _good_labels() -> bytes:
    return b"label\n" + b"".join(b"%d\n" % label for label in Y)


def _data_target(kind: str, suffix: str, damage: Damager) -> None:
    @target(kind, kind, damage)
    def read(folder: Path, content: bytes) -> None:
        labels = content.startswith(b"\x93NUMPY")
        names = {f"x__{suffix}": content, "y__csv": _good_labels()}
        with written(folder, **names) as (path, beside):
            _read(path, beside if labels else None)


_data_target("npy", "npy", edited_npy)
_data_target("npz", "npz", edited_zip)
_data_target("csv", "csv", damaged)
_data_target("parquet", "parquet", damaged)


@target("labels", "label", damaged)
def read_labels(folder: Path, content: bytes) -> None:
    suffix = {b"\x93N": "npy", b"PK": "npz"}.get(content[:2], "csv")
    stored = b"\n".join(b",".join(b"%g" % v for v in row) for row in X.tolist())
    with written(folder, **{"x__csv": stored, f"y__{suffix}": content}) as (path, beside):
        _read(path, beside)


@target("idx", "idx", damaged)
def read_idx(folder: Path, content: bytes) -> None:
    _read_idx(folder, content)


@target("idx-gzip", "idx", lambda content, rng, others: (
    edited_gzip if content[:2] == b"\x1f\x8b" else damaged)(content, rng, others))  # fmt: skip
def read_packed_idx(folder: Path, content: bytes) -> None:
    _read_idx(folder, content)


def _read_idx(folder: Path, content: bytes) -> None:
    beside = bytes([0, 0, 8, 1, 0, 0, 0, 6]) + Y.astype("u1").tobytes()
    names = {"train-images-idx3-ubyte": content, "train-labels-idx1-ubyte": beside}
    with written(folder, **names) as (path, _):
        _read(path)


@target("images", "image", damaged)
def read_images(folder: Path, content: bytes) -> None:
    (folder / "cat").mkdir(exist_ok=True)
    names = {"cat/0__png": content, "cat/1__png": content}
    with written(folder, **names):
        _read(folder)


@target("arrow", "arrow", damaged)
def read_arrow(folder: Path, content: bytes) -> None:
    state = b'{"_data_files": [{"filename": "data.arrow"}]}'
    with written(folder, state__json=state, data__arrow=content):
        _read(folder)


# --- documents ---------------------------------------------------------------------------------


@target("result", "result", json_damage)
def read_result(folder: Path, content: bytes) -> None:
    """What ``lipcert report`` and ``lipcert compare`` read."""
    from lipcert.gating.comparison import read_result
    from lipcert.reports import render
    from lipcert.reports.html.source import record_file

    with written(folder, r__json=content) as (path,):
        refusal = None
        for read in (lambda: render(record_file(path), "html"), lambda: read_result(path)):
            try:
                read()
            except Exception as error:
                if not isinstance(error, refusals()):
                    raise
                refusal = error
        if refusal is not None:
            raise refusal


@target("config", "config", damaged)
def read_config(folder: Path, content: bytes) -> None:
    from lipcert.gating.baseline import baseline_path
    from lipcert.gating.check import read_checks
    from lipcert.gating.files import read_configuration

    with written(folder, lipcert__toml=content) as (path,):
        configuration = read_configuration(path)
        read_checks(configuration)
        baseline_path(configuration)


def refusals() -> tuple[type[BaseException], ...]:
    """What a reader may refuse a file with."""
    from lipcert.errors import LipcertError

    found: list[type[BaseException]] = [LipcertError, RefusedError]
    if "lipcert.checker" in sys.modules:
        from lipcert.checker.exact import CheckError
        from lipcert.checker.positive import Refuted

        found += [CheckError, Refuted]
    return tuple(found)
