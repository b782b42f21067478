"""The root of the command: its subcommands, its version, and how it ends.

Between a shell and the subcommands' modules.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from warren import errors
from warren.command import completion, datasets, doctor, exits, jobs, keys, models, offline, predict, train
from warren.command.session import Session, pretty
from warren.version import VERSION

EPILOG = (
    "The gateway is WARREN_URL with WARREN_API_KEY, a profile of ~/.config/warren/config.toml, or "
    "http://127.0.0.1:8080. Exit status: 0 done, 1 the work failed, 2 wrong usage, 3 refused, 4 no or wrong "
    "key, 5 away or too slow, 6 a defect, 130 interrupted."
)
"""What stands below the list of commands."""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION, "--version", prog_name="warren")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")
@click.option("--url", metavar="URL", help="The gateway's address.")
@click.option("--profile", metavar="NAME", help="A profile of the configuration file.")
@click.pass_obj
def root(session: Session, as_json: bool, url: str | None, profile: str | None) -> None:
    """Train models, predict with them, and look after them, on a Warren gateway."""
    session.as_json, session.url, session.profile = as_json, url, profile


for _command in (
    train.train,
    predict.predict,
    models.models,
    models.versions,
    models.alias,
    models.rollback,
    models.delete,
    jobs.jobs,
    jobs.watch,
    jobs.cancel,
    offline.output,
    datasets.datasets,
    keys.keys,
    doctor.doctor,
    completion.completion,
):
    root.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Gives the exit status; see ``warren.command.exits``."""
    session = Session()
    try:
        given = root.main(
            args=None if arguments is None else list(arguments), prog_name="warren", obj=session, standalone_mode=False
        )
        return given if isinstance(given, int) else exits.OK
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        session.say("Interrupted.")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough. Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except (errors.WarrenError, OSError) as error:
        session.say(pretty(exits.as_json(error)) if session.as_json else exits.told(error))
        return exits.status_of(error)
    finally:
        session.close()
