"""``lipcert certify``."""

from __future__ import annotations

from pathlib import Path

import click

import lipcert
from lipcert.reports.radii_csv import radii_csv

from .delivery import Delivery
from .options import (
    PATH,
    first_option,
    labels_option,
    method_option,
    model_argument,
    model_options,
    norm_option,
    output_options,
    solver_option,
    spectral_option,
    time_limit_option,
)
from .progress import progress
from .values import read_range, read_workers
from .witnesses import refutation_kept, witness_option


@click.command("certify")
@model_argument
@click.argument("data", type=PATH)
@click.option(
    "--eps",
    multiple=True,
    metavar="SIZE",
    help="Perturbation size at which to count, in the data's own units: 0.5 or 36/255. Repeatable.",
)
@labels_option
@norm_option
@click.option(
    "--semantics",
    type=click.Choice(["real", "float32"]),
    default="real",
    show_default=True,
    help="What radii hold for: real arithmetic, or every IEEE-754 float32 evaluation.",
)
@method_option
@spectral_option
@solver_option
@click.option(
    "--normalize",
    metavar="mean=M,std=S",
    help="(x - M) / S before the model, one number or one per channel; radii stay in the "
    "data's own units.",
)
@click.option(
    "--input-range",
    type=read_range,
    metavar="LOW,HIGH",
    help="Range of valid data; a value outside is an error.",
)
@click.option(
    "--pixel-range",
    type=read_range,
    default="0,1",
    show_default=True,
    metavar="LOW,HIGH",
    help="What the pixels 0 and 255 of image files become; arrays are taken as they are.",
)
@first_option
@click.option(
    "--attack",
    is_flag=True,
    help="Attack every correct sample at every --eps: the true accuracy lies between the "
    "certified and the attacked one.",
)
@click.option(
    "--attack-steps",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Gradient steps of one start of the attack.",
)
@click.option(
    "--attack-restarts",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Starts of the attack for each sample and size.",
)
@click.option(
    "--attack-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of the attack's random starts.",
)
@witness_option("a perturbation that refutes a certificate")
@click.option(
    "--workers",
    type=read_workers,
    default="auto",
    show_default=True,
    metavar="N",
    help="Processes that judge the samples; 0: none beside this one; auto: one a core where "
    "there are many samples.",
)
@click.option(
    "--cluster",
    metavar="tcp://HOST:PORT",
    help="Dask scheduler whose workers judge the samples; model and data must have the same "
    "paths there.",
)
@click.option(
    "--resume",
    type=PATH,
    metavar="FILE",
    help="Keep a journal in FILE, and go on where it ends.",
)
@time_limit_option
@click.option(
    "--radii",
    type=PATH,
    metavar="FILE.csv",
    help="Write index, label, prediction, correct, margin and radius of every sample.",
)
@click.option(
    "--proof",
    type=PATH,
    metavar="FILE",
    help="Also write a proof that lipcert check checks; l2 and .npz data only.",
)
@model_options
@output_options("Certificates")
def certify_command(
    *,
    delivery: Delivery,
    model: Path,
    data: Path,
    eps: tuple[str, ...],
    labels: Path | None,
    norm: str,
    semantics: str,
    method: str,
    spectral: str,
    solver: str,
    normalize: str | None,
    input_range: tuple[float, float] | None,
    pixel_range: tuple[float, float],
    first: int | None,
    attack: bool,
    attack_steps: int,
    attack_restarts: int,
    attack_seed: int,
    witness: Path,
    workers: int | str,
    cluster: str | None,
    resume: Path | None,
    time_limit: float,
    radii: Path | None,
    proof: Path | None,
    device: str,
    input_shape: tuple[int, ...] | None,
    output: str | None,
) -> None:
    """Certify the predictions of MODEL, an ONNX file, on DATA.

    DATA is an .npz with x and y, an .npy with its labels beside it or in --labels, CSV, Parquet,
    IDX, a folder of images per class, or a Hugging Face data set saved on disk. Counts the
    samples that are correct and that no perturbation of each --eps can change.
    """
    tables = [radii] if radii else []
    if proof is not None:
        _check_provable(model, data, norm, input_shape, output)
    inputs = [model, data, *(path for path in (labels, resume) if path)]
    delivery.check(inputs, [*tables, *([proof] if proof else [])])
    with progress(delivery.session) as told, refutation_kept(delivery, witness):
        result = lipcert.certify(
            model,
            data,
            eps=eps,
            norm=norm,
            semantics=semantics,
            method=method,
            spectral=spectral,
            solver=solver,
            labels=labels,
            normalize=normalize,
            input_range=input_range,
            pixel_range=pixel_range,
            first=first,
            attack=attack and lipcert.AttackSettings(attack_steps, attack_restarts, attack_seed),
            details=delivery.has_details,
            workers=workers,
            cluster=cluster,
            resume=resume,
            device=device,
            time_limit=time_limit,
            input_shape=input_shape,
            output=output,
            progress=told,
        )
        file = None
        if proof is not None:
            file = lipcert.prove_certificates(
                model, data, result, time_limit=time_limit, progress=told
            )
            result = file.told(result, proof)
    if proof is not None and file is not None:
        delivery.write(proof, file.content)
    delivery.send(result, {path: radii_csv(result) for path in tables})


def _check_provable(
    model: Path,
    data: Path,
    norm: str,
    input_shape: tuple[int, ...] | None,
    output: str | None,
) -> None:
    """Refuse what no proof file can be made of before any work is done for it."""
    from lipcert.certifying.proof import check_provable
    from lipcert.proof import check_covered

    check_provable(data, norm)
    check_covered(model, input_shape=input_shape, output=output)
