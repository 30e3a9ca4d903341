"""``lipcert bound``."""

from __future__ import annotations

from pathlib import Path

import click

import lipcert

from .delivery import Delivery
from .options import (
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

NO_FINITE_BOUND = 3


@click.command("bound")
@model_argument
@norm_option
@method_option
@spectral_option
@solver_option
@click.option("--pairwise", is_flag=True, help="Also bound the difference of every two outputs.")
@click.option(
    "--logits", is_flag=True, help="Bound the logits, leaving out a final softmax or sigmoid."
)
@time_limit_option
@model_options
@output_options("LipschitzBound")
def bound_command(
    *,
    delivery: Delivery,
    model: Path,
    norm: str,
    method: str,
    spectral: str,
    solver: str,
    pairwise: bool,
    logits: bool,
    time_limit: float,
    device: str,
    input_shape: tuple[int, ...] | None,
    output: str | None,
) -> int:
    """Bound the Lipschitz constant of MODEL, an ONNX file.

    Prints a proven upper bound, the steepest slope found (the constant lies between the two),
    and their ratio. Exit code 3 if there is no finite bound; the result then says why.
    """
    delivery.check([model])
    with progress(delivery.session) as told:
        result = lipcert.bound(
            model,
            norm=norm,
            method=method,
            spectral=spectral,
            solver=solver,
            pairwise=pairwise,
            logits=logits,
            time_limit=time_limit,
            device=device,
            input_shape=input_shape,
            output=output,
            progress=told,
        )
    delivery.send(result)
    return 0 if result.is_finite else NO_FINITE_BOUND
