"""Certified <= true <= attacked: both ends at four sizes, and attacks inside radii (none).

python benchmarks/sandwich.py [--first N] [--steps N] [--restarts N]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import ROOT, dev_folder, save

import lipcert
from lipcert.certification.attack import AttackSettings
from lipcert.certification.shards import RefutedError

SAMPLES = ROOT / "sample_models"
UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class Case:
    """A model with its data and four sizes for each norm, in the data's units."""

    model: Path
    data: Path
    l2: tuple[str, ...]
    linf: tuple[str, ...]
    input_range: tuple[float, float] | None
    method: str = "auto"


def cases() -> list[Case]:
    models, data = dev_folder() / "models", dev_folder() / "data"
    digits = ("0.1", "0.25", "0.5", "1"), ("0.01", "0.03", "0.06", "0.1"), UNIT
    # CIFAR-10 is stored normalised: 1/255 of a pixel is about 0.0174 of kw's units
    return [
        Case(SAMPLES / "digits_relu_mlp.onnx", SAMPLES / "digits_test.npz", *digits),
        Case(SAMPLES / "digits_lip_mlp.onnx", SAMPLES / "digits_test.npz", *digits),
        Case(SAMPLES / "digits_lip_conv.onnx", SAMPLES / "digits_test_images.npz", *digits),
        Case(
            models / "mnist-net_256x2.onnx",
            data / "mnist_784x1_unit.npz",
            ("0.003", "0.1", "0.5", "1"),
            ("0.00002", "0.005", "0.01", "0.02"),
            UNIT,
        ),
        Case(
            models / "cifar_base_kw.onnx",
            data / "cifar10_nchw_kw.npz",
            ("0.05", "0.1", "0.25", "0.5"),
            ("0.002", "0.01", "0.04", "0.07"),
            None,
        ),
        Case(
            models / "resnet_2b.onnx",
            data / "cifar10_nchw_s2471.npz",
            ("0.01", "0.1", "0.5", "1"),
            ("0.0005", "0.01", "0.03", "0.06"),
            None,
            "averaged",
        ),
    ]


def sandwiched(
    case: Case, norm: str, first: int | None, settings: AttackSettings
) -> dict[str, object]:
    """One model under one norm."""
    eps = case.l2 if norm == "l2" else case.linf
    row: dict[str, object] = {"model": case.model.name, "norm": norm, "ε": ", ".join(eps)}
    start = time.perf_counter()
    try:
        found = lipcert.certify(
            case.model,
            case.data,
            eps=eps,
            norm=norm,
            method=case.method,
            input_range=case.input_range,
            attack=settings,
            first=first,
            time_limit=30.0,
        )
    except RefutedError as error:
        return row | {"violations": 1, "error": str(error)}
    assert found.adversarial is not None
    attacked = found.adversarial > 0.0
    with np.errstate(divide="ignore"):
        ratios = found.adversarial[attacked] / found.radii[attacked]
    return row | {
        "samples": found.samples,
        "clean": found.clean_correct,
        "certified": ", ".join(str(entry.count) for entry in found.certified),
        "attacked": ", ".join(str(entry.attacked) for entry in found.certified),
        "samples attacked": int(np.count_nonzero(attacked)),
        "violations": int(np.count_nonzero(found.adversarial < found.radii)),
        "by rounding": found.rounded,
        "median size / radius": float(np.median(ratios)),
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int)
    parser.add_argument("--steps", type=int, default=AttackSettings().steps)
    parser.add_argument("--restarts", type=int, default=AttackSettings().restarts)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = AttackSettings(steps=chosen.steps, restarts=chosen.restarts)
    rows = []
    for case in cases():
        for norm in ("l2", "linf"):
            rows.append(sandwiched(case, norm, chosen.first, settings))
            print(rows[-1], flush=True)
    attacked = sum(int(str(row.get("samples attacked", 0))) for row in rows)
    violations = sum(int(str(row["violations"])) for row in rows)
    columns = [
        "model",
        "norm",
        "ε",
        "samples",
        "clean",
        "certified",
        "attacked",
        "samples attacked",
        "violations",
        "by rounding",
        "median size / radius",
        "seconds",
        "error",
    ]
    save(
        "sandwich",
        rows,
        columns,
        "How many samples are certified, and how many the attack leaves, at each ε in the data's "
        "units (CIFAR-10 is stored normalised); the true robust counts lie between the two.  "
        f"{attacked} samples attacked (each counts once a norm) with {settings.steps} steps and "
        f"{settings.restarts} restarts, on one thread: {violations} perturbations "
        "inside a certified radius.  "
        "*By rounding*: samples whose class ONNX Runtime changes inside the radius while real "
        "arithmetic does not.  *Median size / radius*: of the smallest perturbation found.  "
        "Seconds are of the whole call, bound included.",
    )


if __name__ == "__main__":
    main()
