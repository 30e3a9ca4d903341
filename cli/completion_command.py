"""``lipcert completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .delivery import write_stdout

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: eval "$(lipcert completion bash)". For fish: lipcert completion fish | source.
    """
    script = get_completion_class(shell)
    assert script is not None
    root = context.find_root()
    write_stdout(script(root.command, {}, "lipcert", "_LIPCERT_COMPLETE").source() + "\n")
