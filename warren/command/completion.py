"""``warren completion``: the script that makes a shell complete commands, options, models and jobs.

Between a shell's completion and click's; names of models and jobs are asked of the gateway, which
has a second to answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import click
from click.shell_completion import get_completion_class

from warren import calls, errors, profiles
from warren.calls import Call
from warren.command import exits
from warren.transport import Transport

T = TypeVar("T")

SHELLS = ("bash", "zsh", "fish")
"""The shells that can complete."""
_WAIT_S = 1.0


_HELP = """Print what makes SHELL complete this command.

\b
bash: eval "$(warren completion bash)"          in ~/.bashrc
zsh:  eval "$(warren completion zsh)"           in ~/.zshrc
fish: warren completion fish > ~/.config/fish/completions/warren.fish
"""


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print the script of a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"No completion for {shell}.")
    root = click.get_current_context().find_root().command
    click.echo(_Unchecked.source_of(kind, root))
    return exits.OK


class _Unchecked:
    """click starts bash to learn its version before it writes the script; the script is the same either way."""

    @staticmethod
    def source_of(kind: type, root: click.Command) -> str:
        made = kind(root, {}, "warren", "_WARREN_COMPLETE")
        return str(made.source_template % made.source_vars())


def models(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Names of models that begin with what was typed."""
    found = _asked(context, calls.models())
    return _beginning(typed, () if found is None else (each.model for each in found.models))


def job_ids(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Ids of the newest jobs that begin with what was typed."""
    found = _asked(context, calls.jobs(None, None, 50, None))
    return _beginning(typed, () if found is None else (each.job_id for each in found.jobs))


def _asked(context: click.Context, call: Call[T]) -> T | None:
    given = context.params
    try:
        transport = Transport(profiles.target(given.get("url"), None, given.get("profile")))
        try:
            return transport.run(replace(call, wait_s=_WAIT_S))
        finally:
            transport.close()
    except errors.WarrenError:
        return None


def _beginning(typed: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(typed)]
