"""The command line behind the Makefile: ``python -m deploy.native <command>``."""

from __future__ import annotations

import argparse
import os
import sys

from deploy.native import commands
from deploy.native.broker import BrokerError
from deploy.native.layout import DeploymentError, Layout
from deploy.native.supervision import SupervisorAway

UMASK = 0o026
"""Others read no file and list no folder; they may pass through one, as the broker's own user does on its way home."""

COMMANDS = ("up", "down", "status", "logs", "rabbitmqctl", "dead-letters", "key")
"""What can be asked for."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it says, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m deploy.native", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "rest",
        nargs=argparse.REMAINDER,
        help="logs: one process, such as trainer; rabbitmqctl, dead-letters, key: their arguments",
    )
    given = parser.parse_args(arguments)
    # What the caller takes away stays away.
    os.umask(UMASK | os.umask(UMASK))
    try:
        return _run(given.command, given.rest)
    except (DeploymentError, BrokerError) as error:
        _say(str(error), to_error=True)
    except SupervisorAway as error:
        _say(
            f"The supervisor does not answer ({error}). `make up` goes on from here; `make down` ends everything.",
            to_error=True,
        )
    return 1


def _run(command: str, rest: list[str]) -> int:
    layout = Layout.from_environment(os.environ)
    if command == "up":
        _say(commands.up(layout, os.environ, _say))
    elif command == "down":
        _say(commands.down(layout, _say))
    elif command == "status":
        table, good = commands.status(layout)
        _say(table)
        return 0 if good else 1
    elif command == "rabbitmqctl":
        _say(commands.ask_broker(layout, rest))
    elif command in ("dead-letters", "key"):
        find = commands.key if command == "key" else commands.dead_letters
        command_line, environment = find(layout, os.environ, rest)
        os.chdir(layout.checkout)
        os.execve(command_line[0], command_line, environment)  # noqa: S606 - becomes the command of another package
    else:
        files = [str(path) for path in commands.log_files(layout, "".join(rest[:1]))]
        os.execvp("tail", ["tail", "-n", "20", "-F", *files])  # noqa: S606 - becomes tail
    return 0


def _say(text: str, *, to_error: bool = False) -> None:
    (sys.stderr if to_error else sys.stdout).write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
