"""``lipcert inspect``."""

from __future__ import annotations

from pathlib import Path

import click

import lipcert

from .delivery import Delivery
from .options import (
    model_argument,
    model_options,
    norm_option,
    output_options,
    spectral_option,
)
from .progress import progress


@click.command("inspect")
@model_argument
@norm_option
@spectral_option
@model_options
@output_options("Inspection")
def inspect_command(
    *,
    delivery: Delivery,
    model: Path,
    norm: str,
    spectral: str,
    device: str,
    input_shape: tuple[int, ...] | None,
    output: str | None,
) -> None:
    """Show the layers of MODEL, an ONNX file.

    For each layer its shape, parameters, a proven bound of its norm, and its slope if it is
    nonlinear; then the factors of the product bound, and what stands in the way of a finite one.
    """
    delivery.check([model])
    with progress(delivery.session) as told:
        result = lipcert.inspect(
            model,
            norm=norm,
            spectral=spectral,
            device=device,
            input_shape=input_shape,
            output=output,
            progress=told,
        )
    delivery.send(result)
