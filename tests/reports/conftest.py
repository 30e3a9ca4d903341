"""Results made by hand, with numbers that rounding to nearest would put on the wrong side."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the package `reading`

from reading.browser import look  # noqa: F401
from reading.results import (  # noqa: F401
    analysis,
    data_only,
    plain_analysis,
    wordy_analysis,
)

from lipcert.bounds.result import LipschitzBound, Obstacle, ProofFacts
from lipcert.certification.attack import AttackSettings
from lipcert.certification.result import Certificates, CertifiedAt, Example
from lipcert.inspection import Factor, Inspection, Layer

VERSIONS = {"python": "3.11.7", "lipcert": "0.1.0", "torch": "2.13.0"}
DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def evil() -> str:
    """A name that tries to get out of HTML, of Markdown and of a terminal's line."""
    return "conv<b>|`x`&\x1b[31m\n"


@pytest.fixture
def bound() -> LipschitzBound:
    return LipschitzBound(
        value=12.345678901234567,
        lower=11.111111111999999,
        norm="l2",
        method="averaged",
        seconds=1.25,
        methods={"autolip": 20.5, "averaged": 12.345678901234567},
        pairwise=((0.0, 1.25), (1.25, 0.0)),
        model="net.onnx",
        model_sha256=DIGEST,
        output="logits",
        versions=VERSIONS,
    )


@pytest.fixture
def exact_bound(bound: LipschitzBound) -> LipschitzBound:
    """The constant itself, found by a method that says how."""
    methods = {"autolip": 20.5, "exact": 11.111111112000001, "averaged": 12.345678901234567}
    how = "all patterns of 12 neurons"
    return replace(
        bound, value=methods["exact"], method="exact", methods=methods,
        details={"exact": how}, exact=True,
    )  # fmt: skip


@pytest.fixture
def obstacle() -> Obstacle:
    return Obstacle("attention", "MatMul", "multiplies two signals", "certify on a region")


@pytest.fixture
def unbounded(bound: LipschitzBound, obstacle: Obstacle) -> LipschitzBound:
    methods = {"autolip": math.inf, "averaged": math.inf}
    return replace(bound, value=math.inf, methods=methods, pairwise=None, obstacle=obstacle)


@pytest.fixture
def certificates(bound: LipschitzBound) -> Certificates:
    return Certificates(
        samples=7,
        clean_correct=6,
        certified=(
            CertifiedAt(36 / 255, "36/255", 5),
            CertifiedAt(0.5, "0.5", 1),
            CertifiedAt(9.0, "9", 0),
        ),
        radii=np.array([0.2, 0.3, 0.4, 0.45, 0.123456789, 0.75, 0.0]),
        predictions=np.array([0, 1, 2, 0, 1, 2, 0]),
        labels=np.array([0, 1, 2, 0, 1, 2, 1]),
        margins=np.array([1.0, 1.5, 2.0, 2.25, 0.6, 3.75, 0.1]),
        bound=replace(bound, lower=0.0),
        disagreements=0,
        norm="l2",
        units="the data's own units",
        data="digits",
        data_sha256=DIGEST,
        seconds=0.5,
        normalization={"mean": (0.5,), "std": (0.25, 0.5)},
        input_range=(0.0, 1.0),
        largest_deviation=3.1e-7,
        versions=VERSIONS,
    )


@pytest.fixture
def inspection() -> Inspection:
    layers = (
        Layer("conv1", "Conv", (1, 8, 14, 14), 1250, True, 2.0000001, "torus", None, ""),
        Layer("relu1", "Relu", (1, 8, 14, 14), 0, False, 1.0, "", (0.0, 1.0), ""),
        Layer("pool", "MaxPool", (1, 8, 7, 7), 0, False, 1.0, "", None, ""),
        Layer("gelu", "Gelu", (1, 8, 7, 7), 0, False, 1.129, "", (-0.12904, 1.12904), ""),
        Layer("gemm", "Gemm", (1, 10), 3930, True, 3.0, "dense", None, ""),
    )
    factors = (
        Factor("input → relu1", 2.0000001, "torus", "relu1"),
        Factor("relu1", 1.0, "slope", "relu1", is_slope=True),
        Factor("relu1 → gelu", 1.0, "exact", "gelu"),
        Factor("gelu", 1.129, "slope", "gelu", is_slope=True),
        Factor("gelu → output", 3.0, "dense", "output"),
    )
    return Inspection(
        "net.onnx", DIGEST, 17, (1, 1, 28, 28), (1, 10), "l2", layers, factors, (), 6.7740003388
    )


@pytest.fixture
def attacked(certificates: Certificates, inspection: Inspection) -> Certificates:
    """Everything that a result can tell: an attack, images, layers, and the command."""
    pixels = np.linspace(0.0, 1.0, 64).reshape(1, 8, 8)
    counts = zip(certificates.certified, (6, 3, 0), strict=True)
    return replace(
        certificates,
        certified=tuple(replace(entry, attacked=count) for entry, count in counts),
        adversarial=np.array([0.25, 0.51, 0.6, 0.45, 0.2, 0.75, 0.0]),
        attack=AttackSettings(),
        worst=(Example(4, 1, 1, 0.123456789, pixels), Example(0, 0, 0, 0.2, pixels)),
        best=(Example(5, 2, 2, 0.75, pixels),),
        layers=inspection.layers,
        command="lipcert certify net.onnx 'my digits.npz' --eps 36/255 --eps 0.5 --eps 9 --attack",
    )


@pytest.fixture
def facts() -> ProofFacts:
    """Of a proof whose name needs quotation marks, and whose constant is above its float64."""
    constant = Fraction(12345678901234568, 10**15) + Fraction(1, 10**40)
    found = ProofFacts(constant, "lipsdp", 31, 4567, DIGEST, 0.25, "lipcert-proof/1")
    return found.named("out/my net.proof", "net.onnx", "my digits.npz")


@pytest.fixture
def proved(attacked: Certificates, facts: ProofFacts) -> Certificates:
    """Certificates for float32, with a proof file that shows some of them."""
    reals = (6, 1, 0)
    entries = zip(attacked.certified, reals, strict=True)
    return replace(
        attacked,
        semantics="float32",
        certified=tuple(replace(entry, real=count) for entry, count in entries),
        proof=facts,
        proved=(4, 1, 0),
    )
