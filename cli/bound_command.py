"""``lipcert bound``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

import lipcert
from lipcert.errors import InputError

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
@click.option(
    "--proof",
    type=PATH,
    metavar="FILE",
    help="Also write a proof that lipcert check checks; l2 only.",
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
    proof: Path | None,
    time_limit: float,
    device: str,
    input_shape: tuple[int, ...] | None,
    output: str | None,
) -> int:
    """Bound the Lipschitz constant of MODEL, an ONNX file.

    Prints a proven upper bound, the steepest slope found (the constant lies between the two),
    and their ratio. Exit code 3 if there is no finite bound; the result then says why.
    """
    delivery.check([model], [] if proof is None else [proof])
    if proof is not None:
        _check_provable(model, norm, input_shape, output)
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
        file = None
        if proof is not None and result.is_finite:
            file = lipcert.prove(model, result, logits=logits, time_limit=time_limit, progress=told)
            result = replace(result, proof=file.facts.named(proof, model))
    if proof is not None:
        if file is None:
            delivery.session.tell("no proof is written where there is no finite bound")
        else:
            delivery.write(proof, file.content)
    delivery.send(result)
    return 0 if result.is_finite else NO_FINITE_BOUND


def _check_provable(
    model: Path, norm: str, input_shape: tuple[int, ...] | None, output: str | None
) -> None:
    """Refuse what no proof file can be made of before any work is done for it."""
    from lipcert.proof import check_covered

    if norm != "l2":
        raise InputError("--proof", f"covers the l2 norm, not {norm}", "use --norm l2")
    check_covered(model, input_shape=input_shape, output=output)
