"""``lipcert check``."""

from __future__ import annotations

from pathlib import Path

import click

from lipcert.errors import InputError

from .delivery import Delivery
from .options import PATH, output_options


@click.command("check")
@click.argument("proof", metavar="FILE", type=PATH)
@click.argument("model", type=PATH)
@click.argument("data", type=PATH, required=False)
@output_options("Verdict")
def check_command(*, delivery: Delivery, proof: Path, model: Path, data: Path | None) -> int:
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
    verdict = check(proof, model, data)
    delivery.send(verdict)
    return verdict.exit_code
