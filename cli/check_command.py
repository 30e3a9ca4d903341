"""``lipcert check``."""

from __future__ import annotations

from pathlib import Path

import click

from lipcert.errors import InputError

from .delivery import Delivery
from .limits import limited
from .options import PATH, output_options


@click.command("check")
@click.argument("proof", metavar="FILE", type=PATH)
@click.argument("model", type=PATH)
@click.argument("data", type=PATH, required=False)
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="Seconds after which the answer is that nothing could be decided; none by default.",
)
@output_options("Verdict")
def check_command(
    *,
    delivery: Delivery,
    proof: Path,
    model: Path,
    data: Path | None,
    time_limit: float | None,
) -> int:
    """Check FILE, a proof that bound --proof or certify --proof wrote, against MODEL and DATA.

    In exact integer arithmetic, by code that shares nothing with what made the proof. Exit code 0
    if it is proved, 1 if it is refuted, 7 if neither could be decided.
    """
    from lipcert.checker import check

    inputs = [path for path in (proof, model, data) if path is not None]
    for path in inputs:
        if not path.is_file():
            raise InputError(str(path), "is not a file that can be read", "name a file that is")
    delivery.check(inputs)
    verdict = (
        check(proof, model, data)
        if time_limit is None
        else limited(lambda: check(proof, model, data), time_limit)
    )
    delivery.send(verdict)
    return verdict.exit_code
