"""``lipcert certify``."""

from __future__ import annotations

from pathlib import Path

import click

import lipcert
from lipcert.reports.radii_csv import radii_csv

from .delivery import Delivery
from .options import (
    PATH,
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
from .values import read_range


@click.command("certify")
@model_argument
@click.argument("data", type=PATH)
@click.option(
    "--eps",
    multiple=True,
    metavar="SIZE",
    help="Perturbation size at which to count, in the data's own units: 0.5 or 36/255. Repeatable.",
)
@click.option("--labels", type=PATH, metavar="FILE", help="Labels, where DATA holds samples only.")
@norm_option
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
@time_limit_option
@click.option(
    "--radii",
    type=PATH,
    metavar="FILE.csv",
    help="Write index, label, prediction, correct, margin and radius of every sample.",
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
    method: str,
    spectral: str,
    solver: str,
    normalize: str | None,
    input_range: tuple[float, float] | None,
    time_limit: float,
    radii: Path | None,
    device: str,
    input_shape: tuple[int, ...] | None,
    output: str | None,
) -> None:
    """Certify the predictions of MODEL, an ONNX file, on DATA.

    DATA is an .npz with x and y, an .npy with its labels beside it or in --labels, or a CSV.
    Counts the samples that are correct and that no perturbation of each --eps can change.
    """
    tables = [radii] if radii else []
    delivery.check([model, data, *([labels] if labels else [])], tables)
    with progress(delivery.session) as told:
        result = lipcert.certify(
            model,
            data,
            eps=eps,
            norm=norm,
            method=method,
            spectral=spectral,
            solver=solver,
            labels=labels,
            normalize=normalize,
            input_range=input_range,
            device=device,
            time_limit=time_limit,
            input_shape=input_shape,
            output=output,
            progress=told,
        )
    delivery.send(result, {path: radii_csv(result) for path in tables})
