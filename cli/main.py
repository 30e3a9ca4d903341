"""``lipcert``: the table of commands, and the entry point."""

from __future__ import annotations

from typing import NoReturn

import click

from .lazy import Entry, LazyGroup

USAGE = 2

COMMANDS = {
    "inspect": Entry(
        f"{__package__}.inspect_command",
        "inspect_command",
        "Show layers, their norms, and what stands in the way of a bound.",
    ),
    "bound": Entry(
        f"{__package__}.bound_command",
        "bound_command",
        "Bound the Lipschitz constant of a model.",
    ),
    "certify": Entry(
        f"{__package__}.certify_command",
        "certify_command",
        "Certify predictions on a data set against perturbations.",
    ),
    "check": Entry(
        f"{__package__}.check_command",
        "check_command",
        "Check a proof file against its model, in exact arithmetic.",
    ),
    "report": Entry(
        f"{__package__}.report_command",
        "report_command",
        "Lay out a JSON result of certify as HTML or Markdown.",
    ),
    "sensitivity": Entry(
        f"{__package__}.sensitivity_command",
        "sensitivity_command",
        "Bound one example's gradients, and the privacy that noise on them buys.",
    ),
    "gate": Entry(
        f"{__package__}.gate_command",
        "gate_command",
        "Hold models to the conditions in lipcert.toml.",
    ),
    "compare": Entry(
        f"{__package__}.compare_command",
        "compare_command",
        "Compare two results in exact counts.",
    ),
    "config": Entry(
        f"{__package__}.config_command",
        "config_command",
        "Show the configuration in force.",
    ),
    "completion": Entry(
        f"{__package__}.completion_command",
        "completion_command",
        "Print the completion script for a shell.",
    ),
}

EPILOG = """\b
Exit codes:
  0    done
  1    a gate was not met, or a proof was refuted
  2    usage, or input that cannot be read
  3    unsupported model, or no finite bound
  4    solver or internal error
  5    nothing was evaluated
  6    soundness violation: please report it
  7    a proof could be neither confirmed nor refuted
  130  interrupted

Results go to stdout, everything else to stderr. Each option can also be set in the environment,
such as LIPCERT_BOUND_NORM=linf; NO_COLOR and FORCE_COLOR are heeded.
"""


def _show_versions(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from lipcert.versions import versions

    found = versions()
    own = found.pop("lipcert")
    others = ", ".join(f"{name} {number}" for name, number in found.items())
    click.echo(f"lipcert {own} ({others})")
    context.exit()


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    epilog=EPILOG,
    subcommand_metavar="COMMAND [ARGS]...",
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "LIPCERT", "help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    allow_from_autoenv=False,
    callback=_show_versions,
    help="Show the versions that results depend on, and exit.",
)
@click.pass_context
def cli(context: click.Context) -> int:
    """Proven Lipschitz bounds and robustness certificates of ONNX models."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return USAGE
    return 0


def main() -> NoReturn:
    """Entry point of ``lipcert`` and ``python -m lipcert_cli``."""
    cli.main(prog_name="lipcert")
