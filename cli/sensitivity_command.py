"""``lipcert sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import lipcert
from lipcert.errors import InputError

from .delivery import Delivery
from .options import (
    PATH,
    first_option,
    labels_option,
    model_argument,
    model_options,
    output_options,
    spectral_option,
    time_limit_option,
)
from .progress import progress
from .values import read_range
from .witnesses import refutation_kept, witness_option

PRIVACY = ("batch_size", "dataset_size", "epochs", "steps", "delta")


@click.command("sensitivity")
@model_argument
@click.option(
    "--loss",
    metavar="NAME[,OPTION=VALUE...]",
    default="",
    help="Loss of one example, such as cross-entropy,temperature=multiplies,tau=10.",
)
@click.option(
    "--loss-lipschitz",
    type=float,
    metavar="L",
    help="Lipschitz constant of a loss of your own, in place of --loss.",
)
@click.option(
    "--input-bound",
    metavar="R|pixels|clip:R|data",
    help="Needed: what is known of every input: its l2 norm, that it is an image with values in "
    "--pixel-range behind --normalize, that training scales it down to norm R, or the largest "
    "norm in --data (which is no privacy guarantee).",
)
@click.option(
    "--pixel-range",
    type=read_range,
    default="0,1",
    show_default=True,
    metavar="LOW,HIGH",
    help="Range of the values of --input-bound pixels, before --normalize.",
)
@click.option(
    "--normalize",
    metavar="mean=M,std=S",
    help="(x - M) / S, which training does to pixels and to --data before the model.",
)
@click.option("--plain", is_flag=True, help="The algorithm as published, without tightenings.")
@click.option(
    "--frozen", multiple=True, metavar="NAME", help="Initialiser that is not trained. Repeatable."
)
@click.option("--data", type=PATH, metavar="DATA", help="Compare with the gradients of a data set.")
@labels_option
@first_option
@click.option(
    "--search",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Steps of ascent over inputs that try to reach the bound; starts from --data.",
)
@witness_option("an example whose gradient exceeds its bound")
@click.option("--noise-multiplier", type=float, metavar="SIGMA", help="Noise whose ε to compute.")
@click.option("--target-epsilon", type=float, metavar="EPSILON", help="ε whose noise to compute.")
@click.option("--batch-size", type=int, metavar="B", help="Expected size of a batch.")
@click.option("--dataset-size", type=int, metavar="N", help="Examples of the training set.")
@click.option("--epochs", type=float, metavar="E", help="Length of training.")
@click.option("--steps", type=int, metavar="T", help="Length of training, in place of --epochs.")
@click.option("--delta", type=float, metavar="D", help="δ of (ε, δ)-differential privacy.")
@click.option(
    "--adjacency",
    type=click.Choice(("add-remove", "replace-one")),
    default="add-remove",
    show_default=True,
    help="Which data sets are neighbours.",
)
@click.option(
    "--accountant",
    type=click.Choice(("pld", "rdp")),
    default="pld",
    show_default=True,
    help="How steps are composed.",
)
@click.option(
    "--allocation",
    type=click.Choice(("global", "per-layer", "optimal")),
    default="global",
    show_default=True,
    help="How the noise is shared among layers.",
)
@spectral_option
@time_limit_option
@model_options
@output_options("Analysis")
def sensitivity_command(
    *,
    delivery: Delivery,
    model: Path,
    loss: str,
    loss_lipschitz: float | None,
    input_bound: str | None,
    pixel_range: tuple[float, float],
    normalize: str | None,
    plain: bool,
    frozen: tuple[str, ...],
    data: Path | None,
    labels: Path | None,
    first: int | None,
    search: int,
    witness: Path,
    spectral: str,
    time_limit: float,
    device: str,
    input_shape: tuple[int, ...] | None,
    output: str | None,
    **privacy: Any,
) -> None:
    """Bound the gradient of one example's loss in the parameters of MODEL, an ONNX file.

    For each layer and for all: how far one example can move the gradient, which is what noise for
    differential privacy is scaled to. With --noise-multiplier or --target-epsilon also the noise
    for each layer and the ε that it gives.
    """
    if input_bound is None:
        raise InputError(
            "--input-bound",
            "is missing, and gradients of weights grow with the inputs",
            "give a norm such as 28, pixels, clip:1.5 or data",
        )
    delivery.check([model, *(path for path in (data, labels) if path)])
    with progress(delivery.session) as told, refutation_kept(delivery, witness):
        result = lipcert.sensitivity(
            model,
            loss=loss,
            loss_lipschitz=loss_lipschitz,
            input_bound=input_bound,
            pixels=pixel_range,
            normalize=normalize,
            plain=plain,
            frozen=frozen,
            privacy=_privacy(privacy),
            data=data,
            labels=labels,
            first=first,
            search=search,
            spectral=spectral,
            time_limit=time_limit,
            device=device,
            input_shape=input_shape,
            output=output,
            progress=told,
        )
    delivery.send(result)


def _privacy(options: dict[str, Any]) -> lipcert.PrivacySettings | None:
    """The run to account for; None where no option asks for one."""
    given = [name for name in PRIVACY if options[name] is not None]
    if options["noise_multiplier"] is None and options["target_epsilon"] is None:
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')}",
                "is about privacy, and neither noise nor ε is given",
                "add --noise-multiplier or --target-epsilon",
            )
        return None
    for name in ("batch_size", "dataset_size", "delta"):
        if options[name] is None:
            raise InputError(
                f"--{name.replace('_', '-')}", "is missing", "ε depends on it: give it"
            )
    return lipcert.PrivacySettings(**options)
