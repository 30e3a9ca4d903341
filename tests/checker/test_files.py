"""Proof files say nothing that is not checked, and are about numbers that their semantics holds."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from making import f32, loaded, model, network, node, proof, written
from onnx import TensorProto
from test_readings import unread

import lipcert
from lipcert.checker import check
from lipcert.checker.claims import Claim, Column
from lipcert.checker.file import Samples, digest
from lipcert.errors import UnsupportedError
from lipcert.proof import network_claims

COLUMNS = (Column("x", False, Fraction(1)),)
ONES = np.ones(3, dtype=np.int64)


def layer(kind=np.float32) -> bytes:
    """Two outputs of a rectified input, in numbers of some kind."""
    weight = np.array([[1.0, 0.1], [0.0, 0.2], [0.3, 1.0]], dtype=kind)
    nodes = [node("Relu", ["x"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    return typed(model(nodes, {"w": weight}, ["n", 3]), np.dtype(kind).itemsize)


def typed(content: bytes, width: int) -> bytes:
    """The model with an input of 32 or 64 bits."""
    made = loaded(content)
    kind = TensorProto.DOUBLE if width == 8 else TensorProto.FLOAT
    for one in (*made.graph.input, *made.graph.output):
        one.type.tensor_type.elem_type = kind
    return made.SerializeToString()


def samples(folder: Path) -> tuple[Samples, Path]:
    """A claim of one sample, and the file with it."""
    data = folder / "data.npz"
    np.savez(data, x=np.array([[3.0, 0.0, 0.0]], dtype=np.float32))
    found = (np.array([0]), np.array([0.5]), np.array([0.5]))
    return Samples(hashlib.sha256(data.read_bytes()).hexdigest(), (), (), *found), data


PLACES = {
    "proof": lambda made: made,
    "model": lambda made: made["model"],
    "claim": lambda made: made["claims"][0],
    "column": lambda made: made["claims"][0]["columns"][0],
    "stage": lambda made: made["claims"][0]["stages"][0],
    "factor": lambda made: made["claims"][0]["factor"],
    "samples": lambda made: made["samples"],
}


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_a_file_says_goes_unchecked(place, semantics, tmp_path):
    """A key that means nothing could make a stranger believe what nobody checked."""
    own, data = samples(tmp_path)
    found = network_claims(network(layer()), "y")
    given = {"semantics": semantics, "samples": own}
    made = json.loads(proof(layer(), found.claims, found.constant, **given))
    files = written(tmp_path, model=layer(), proof=json.dumps(made).encode())
    verdict = check(files["proof"], files["model"], data)
    assert verdict.status == "proved", verdict.why
    for more in ("certified_accuracy", "source", ""):
        changed = json.loads(json.dumps(made))
        PLACES[place](changed)[more] = "100 %"
        changed["sha256"] = digest(changed)
        files["proof"].write_text(json.dumps(changed))
        verdict = check(files["proof"], files["model"], data)
        assert verdict.status == "inconclusive"
        assert f"says something of its {place} that is not covered: {more!r}" in verdict.why


@pytest.mark.parametrize("number", [f"{10**1900}", f"1/{10**1900}", f"-{10**302}"])
@pytest.mark.parametrize("key", ["lipschitz", "constant", "mean", "std"])
def test_numbers_beyond_all_floats_are_refused(key, number, tmp_path):
    own, data = samples(tmp_path)
    found = network_claims(network(layer()), "y")
    made = json.loads(proof(layer(), found.claims, found.constant, samples=own))
    if key in ("mean", "std"):
        made["samples"] |= {"mean": ["0"], "std": ["1"], key: [number]}
    else:
        (made if key == "lipschitz" else made["claims"][0])[key] = number
    made["sha256"] = digest(made)
    files = written(tmp_path, model=layer(), proof=json.dumps(made).encode())
    verdict = check(files["proof"], files["model"], data)
    assert verdict.status == "inconclusive"
    assert verdict.why == "a number of the proof is too large or too small"


def test_a_constant_behind_a_normalisation_is_told_as_one(tmp_path):
    """A file that divides the data by 1000 gets its thousandth, and everybody sees why."""
    own, data = samples(tmp_path)
    found = network_claims(network(layer()), "y")
    made = json.loads(proof(layer(), found.claims, found.constant, samples=own))
    made["samples"] |= {"mean": ["0"], "std": ["1000"], "radii": "", "margins": "", "classes": ""}
    made["claims"], made["lipschitz"] = [], str(found.constant / 100)
    made["sha256"] = digest(made)
    files = written(tmp_path, model=layer(), proof=json.dumps(made).encode())
    verdict = check(files["proof"], files["model"], data)
    assert verdict.status == "proved", verdict.why
    assert verdict.why.endswith("f is the model behind (x − mean)/std, mean 0, std 1000")
    assert verdict.std == (1000,)


SIGNALLING = b"\x01\x00\xa0\x7f"


@pytest.mark.parametrize("where", ["weight", "data"])
def test_a_number_that_signals_is_refused_without_a_warning(where, tmp_path):
    content = layer()
    own, data = samples(tmp_path)
    bad = np.frombuffer(SIGNALLING, dtype="<f4")
    if where == "weight":
        made = loaded(content)
        raw = SIGNALLING + made.graph.initializer[0].raw_data[4:]
        made.graph.initializer[0].raw_data = raw
        content = made.SerializeToString()
    else:
        np.savez(data, x=np.broadcast_to(bad, (1, 3)))
        own = replace(own, sha256=hashlib.sha256(data.read_bytes()).hexdigest())
    made = json.loads(proof(layer(), [], Fraction(1000), samples=own))
    made["model"]["sha256"] = hashlib.sha256(content).hexdigest()
    made["sha256"] = digest(made)
    files = written(tmp_path, model=content, proof=json.dumps(made).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdict = check(files["proof"], files["model"], data)
        assert (verdict.status, verdict.why) == ("inconclusive", "a weight is not finite")


@pytest.mark.parametrize(("numbers", "entry"), [(4, 4), (8, 8), (4, 8), (8, 4)])
def test_float32_is_about_models_of_float32(numbers, entry, tmp_path):
    """What a float32 evaluation makes of weights in double precision is not in the file."""
    content = typed(layer(np.float64 if numbers == 8 else np.float32), entry)
    own, data = samples(tmp_path)
    claim = Claim("y", Fraction(30), columns=COLUMNS, stages=(("h", 2 * ONES, 0 * ONES),))
    for semantics in ("real", "float32"):
        made = proof(content, [claim], Fraction(30), semantics=semantics, samples=own)
        files = written(tmp_path, model=content, proof=made)
        verdict = check(files["proof"], files["model"], data)
        covered = semantics == "real" or numbers == entry == 4
        assert verdict.status == ("proved" if covered else "inconclusive"), verdict.why
        assert covered or "64 bits" in verdict.why


def test_weights_of_double_precision_are_refused_where_radii_are_made(tmp_path):
    (tmp_path / "m.onnx").write_bytes(layer(np.float64))
    data = (np.array([[3.0, 0.0, 0.0]]), np.array([0]))
    assert lipcert.certify(tmp_path / "m.onnx", data, eps=["0.1"]).certified[0].count == 1
    with pytest.raises(UnsupportedError, match="64 bits"):
        lipcert.certify(tmp_path / "m.onnx", data, eps=["0.1"], semantics="float32")


def test_where_clip_cuts_is_one_constant():
    cut = node(
        "Clip",
        [
            "x",
            "low",
            "",
        ],
        ["y"],
    )
    network(model([cut], {"low": f32(0.0)}, [1, 3]))
    unread(model([cut], {"low": f32([0.0, 1.0, 2.0])}, [1, 3]))
    unread(model([cut], {"low": f32(np.nan)}, [1, 3]))
    nodes = [node("Neg", ["x"], ["low"]), node("Clip", ["x", "low"], ["y"])]
    unread(model(nodes, {}, [1, 1]))
