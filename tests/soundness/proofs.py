"""Small models of every kind that the checker covers, with proofs that are tight."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from making import f32, i64, loaded, model, node

from lipcert.checker.certificates import judged
from lipcert.checker.claims import Claim, Column
from lipcert.checker.convolution import Convolution
from lipcert.checker.file import Samples
from lipcert.checker.importing import network_of
from lipcert.checker.maps import Dense
from lipcert.checker.network import Affine
from lipcert.checker.proof import Checker
from lipcert.checker.wire import read
from lipcert.proof.layers import torus_claim
from lipcert.proof.prover import Prover
from lipcert.proof.proving import network_claims
from lipcert.proof.writing import Model, proof_file

SAMPLES = 10
NORMALISED = {"leaky": ((Fraction(1, 3),), (Fraction(7, 5),))}
"""Means and standard deviations of the kinds that have them."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model, samples, and the proof of its constant and of radii for the samples."""

    name: str
    content: bytes
    data: bytes
    proof: dict[str, Any]

    def write(self, folder: Path, proof: bytes | None = None) -> tuple[Path, Path, Path]:
        """Proof, model and data as files."""
        paths = folder / "proof.json", folder / "model.onnx", folder / "data.npz"
        own = json.dumps(self.proof).encode()
        for path, content in zip(paths, (proof or own, self.content, self.data), strict=True):
            path.write_bytes(content)
        return paths


def dense(rng: np.random.Generator, inner: int, out: int) -> np.ndarray:
    return f32(rng.normal(size=(inner, out)) / np.sqrt(inner))


def chain(kind: str, out: int = 3, last: str = "", **given: Any) -> Callable[..., bytes]:
    """Two layers with one kind of nonlinearity, another perhaps behind them."""

    def build(rng: np.random.Generator) -> bytes:
        weights = {
            "a": dense(rng, 5, 7),
            "b": f32(0.3 * rng.normal(size=7)),
            "c": dense(rng, 7, out),
        }
        nodes = [
            node("Gemm", ["x", "a", "b"], ["v"]),
            node(kind, ["v"], ["h"], **given),
            node("MatMul", ["h", "c"], ["z" if last else "y"]),
        ]
        return model(nodes + ([node(last, ["z"], ["y"])] if last else []), weights, ["n", 5])

    return build


def deeper(rng: np.random.Generator) -> bytes:
    sizes = (4, 6, 5, 6, 3)
    nodes, weights, at = [], {}, "x"
    for k, (inner, out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weights[f"w{k}"], weights[f"b{k}"] = dense(rng, inner, out), f32(0.3 * rng.normal(size=out))
        name = "y" if k == len(sizes) - 2 else f"v{k}"
        nodes.append(node("Gemm", [at, f"w{k}", f"b{k}"], [name]))
        if name != "y":
            at = f"h{k}"
            slope = {"alpha": 0.25} if k % 2 else {}
            nodes.append(node("LeakyRelu" if k % 2 else "Relu", [name], [at], **slope))
    return model(nodes, weights, ["n", 4])


def residual(rng: np.random.Generator) -> bytes:
    weights = {"a": dense(rng, 4, 4), "b": dense(rng, 4, 4), "c": dense(rng, 4, 3)}
    nodes = [
        node("MatMul", ["x", "a"], ["u"]),
        node("Relu", ["u"], ["h"]),
        node("MatMul", ["h", "b"], ["w"]),
        node("Add", ["w", "u"], ["s"]),
        node("Tanh", ["s"], ["t"]),
        node("MatMul", ["t", "c"], ["y"]),
    ]
    return model(nodes, weights, ["n", 4])


def sorting(rng: np.random.Generator) -> bytes:
    weights = {"a": dense(rng, 5, 6), "c": dense(rng, 6, 3), "halves": i64(3, 3)}
    nodes = [
        node("MatMul", ["x", "a"], ["v"]),
        node("Split", ["v", "halves"], ["l", "r"], axis=1),
        node("Max", ["l", "r"], ["top"]),
        node("Min", ["l", "r"], ["low"]),
        node("Concat", ["top", "low"], ["h"], axis=1),
        node("MatMul", ["h", "c"], ["y"]),
    ]
    return model(nodes, weights, ["n", 5])


def convolved(rng: np.random.Generator) -> bytes:
    kernel = f32(rng.normal(size=(4, 2, 3, 3)) / 4.0)
    weights = {"k": kernel, "b": f32(rng.normal(size=4)), "c": dense(rng, 36, 3)}
    given = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "k", "b"], ["v"], **given),
        node("Relu", ["v"], ["h"]),
        node("Flatten", ["h"], ["f"]),
        node("MatMul", ["f", "c"], ["y"]),
    ]
    return model(nodes, weights, ["n", 2, 5, 5])


def spread(rng: np.random.Generator) -> bytes:
    weights = {
        "k": f32(rng.normal(size=(2, 2, 3, 2)) / 3.0),
        "b": f32(rng.normal(size=4)),
        "c": dense(rng, 4 * 5 * 5, 3),
    }
    given = {"group": 2, "strides": [2, 2], "pads": [1, 0, 1, 1], "output_padding": [0, 0]}
    nodes = [
        node("ConvTranspose", ["x", "k", "b"], ["v"], **given),
        node("Relu", ["v"], ["h"]),
        node("Flatten", ["h"], ["f"]),
        node("MatMul", ["f", "c"], ["y"]),
    ]
    return model(nodes, weights, ["n", 2, 3, 3])


def pooled(rng: np.random.Generator) -> bytes:
    weights = {
        "k": f32(rng.normal(size=(2, 1, 2, 2))),
        "g": f32(1.0 + rng.random(2)),
        "s": f32(rng.normal(size=2)),
        "c": dense(rng, 2, 2),
    }
    nodes = [
        node("Conv", ["x", "k"], ["u"]),
        node("BatchNormalization", ["u", "g", "s", "s", "g"], ["v"]),
        node("MaxPool", ["v"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["p"], ["m"]),
        node("Flatten", ["m"], ["f"]),
        node("MatMul", ["f", "c"], ["y"]),
    ]
    return model(nodes, weights, ["n", 1, 5, 5])


KINDS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "relu": chain("Relu"),
    "leaky": chain("LeakyRelu", alpha=0.3),
    "sigmoid": chain("Sigmoid", last="Softmax"),
    "one logit": chain("Abs", out=1),
    "deeper": deeper,
    "residual": residual,
    "sort": sorting,
    "torus": convolved,
    "transposed": spread,
    "pools": pooled,
}


@cache
def case(kind: str, seed: int = 0, semantics: str = "real") -> Case:
    """A model of that kind, with its proof."""
    rng = np.random.default_rng([seed, *kind.encode()])
    content = KINDS[kind](rng)
    file = read(content, None)
    before = NORMALISED.get(kind, ((), ()))
    network = network_of(file, before)
    logits = network.logits
    if kind in ("torus", "transposed"):
        claims = by_torus(content)
    else:
        claims = network_claims(network, logits, pairs=True, time_limit=20.0).claims
    checker = Checker(network_of(file, before))
    checker.run(list(claims))
    x = (3.0 * rng.normal(size=(SAMPLES, *network.input_shape[1:]))).astype(np.float32)
    data = archive(x)
    samples = samples_of(checker, x, semantics)
    samples = replace(samples, sha256=sha256(data), mean=before[0], std=before[1])
    held = Model("model.onnx", file, sha256(content), {})
    proven = checker.proved(logits)
    made = proof_file(held, logits, proven, claims, semantics=semantics, samples=samples)
    return Case(f"{kind} {semantics}", content, data, json.loads(made))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(x: np.ndarray) -> bytes:
    """An npz file of samples."""
    stream = io.BytesIO()
    np.savez(stream, x=x)
    return stream.getvalue()


def samples_of(checker: Checker, x: np.ndarray, semantics: str) -> Samples:
    """The largest margins and radii that are proved, but for 1e-9 of them."""
    zero = np.zeros(len(x))
    best, behind, slope = judged(checker, x, "real", zero)
    with np.errstate(divide="ignore", over="ignore"):
        reach = (behind / slope).min(1)
    real = reach
    for _ in range(3 if semantics == "float32" else 0):  # rounding costs less within less
        best, behind, slope = judged(checker, x, semantics, reach)
        with np.errstate(divide="ignore", over="ignore"):
            reach = np.minimum(real, (behind / slope).min(1))
    margins = behind.min(1)
    short = 1.0 - 1e-9
    return Samples("", (), (), best, margins * short, reach * short)


def by_torus(content: bytes) -> tuple[Claim, ...]:
    """A claim of the convolution by a torus, and of the rest from there on."""
    prover = Prover(network_of(read(content, None)))
    for name in prover.network.makers:
        prover.pass_on(name)
        maker = prover.network.makers[name]
        if not isinstance(maker, Affine):
            continue
        one = [m for _, maps in maker.summands for m in maps]
        if any(isinstance(m, Convolution) for m in one):
            assert torus_claim(prover, name) is not None
        elif any(isinstance(m, Dense) for m in one):
            source = maker.summands[0][0]
            prover.known.setdefault(source, 1.0)
            prover.settle(
                lambda slack, name=name, source=source: Claim(
                    name,
                    Fraction(size(prover, name) * (1.0 + slack)) * Fraction(prover.known[source]),
                    columns=(Column(source, False, Fraction(1)),),
                ),
                only_below=np.inf,
            )
    return tuple(prover.claims)


def size(prover: Prover, name: str) -> float:
    maker = prover.network.makers[name]
    assert isinstance(maker, Affine)
    (one,) = maker.summands[0][1]
    assert isinstance(one, Dense)
    weight = one.weight
    return float(np.linalg.norm(np.ldexp(weight.mantissa.astype(float), weight.exponent), 2))


def flipped_weight(content: bytes, rng: np.random.Generator) -> bytes:
    """The model with one bit of one weight turned."""
    made = loaded(content)
    tensors = [t for t in made.graph.initializer if t.data_type == 1]
    chosen = tensors[int(rng.integers(len(tensors)))]
    raw = bytearray(chosen.raw_data)
    bit = int(rng.integers(8 * len(raw)))
    raw[bit // 8] ^= 1 << bit % 8
    chosen.raw_data = bytes(raw)
    return made.SerializeToString()
