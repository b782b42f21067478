"""A rolling update: ``python3 -m deploy.compose.roll [SERVICE …]``, behind ``make compose-roll``.

Between new images (or settings) and a stack that is in use. One container at a time: a new one
is started beside the old ones and becomes healthy, then an old one is told to stop, finishes what
it has, and is removed. Standard library only: the machine needs Docker with Compose, nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

SERVICES = ("predictor", "trainer", "worker", "api")
"""What can be rolled, in this order: who answers comes before who asks."""

_HEALTHY_S = 120.0
_STOP_S = 60
_COMMAND_S = 300.0
_PAUSE_S = 0.25

Run = Callable[[Sequence[str]], str]
"""Runs a command and gives what it says; raises RollError."""


class RollError(Exception):
    """A command failed, or a new container did not become healthy; the old ones still run."""


def roll(service: str, run: Run, say: Callable[[str], object]) -> None:
    """Replace every container of a service. Raises RollError; what was not replaced yet goes on."""
    old = _containers(service, run)
    for number, container in enumerate(old, start=1):
        before = {*_containers(service, run)}
        run(
            [
                "docker",
                "compose",
                "up",
                "-d",
                "--no-deps",
                "--no-recreate",
                "--scale",
                f"{service}={len(before) + 1}",
                service,
            ]
        )
        [fresh] = {*_containers(service, run)} - before
        _wait_healthy(service, fresh, run)
        # SIGTERM; within the grace period the process answers what it has taken.
        run(["docker", "stop", "-t", str(_STOP_S), container])
        run(["docker", "rm", container])
        say(f"{service}: {number} of {len(old)} replaced")


def _containers(service: str, run: Run) -> list[str]:
    return run(["docker", "compose", "ps", "-q", service]).split()


def _wait_healthy(service: str, container: str, run: Run) -> None:
    end = time.monotonic() + _HEALTHY_S
    while (status := _health(container, run)) != "healthy":
        if time.monotonic() > end:
            run(["docker", "rm", "-f", container])
            raise RollError(
                f"The new {service} is {status} after {_HEALTHY_S:.0f} s and was removed; the old ones run."
            )
        time.sleep(_PAUSE_S)


def _health(container: str, run: Run) -> str:
    [found] = json.loads(run(["docker", "inspect", container]))
    return str(found["State"].get("Health", {}).get("Status", "without a health check"))


def run_command(command: Sequence[str]) -> str:
    """Run a command of the engine. Raises RollError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S)
    if done.returncode != 0:
        raise RollError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 when every container was replaced."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.compose.roll", description=__doc__)
    parser.add_argument("services", nargs="*", metavar="SERVICE", help=f"of {', '.join(SERVICES)}; all by default")
    chosen = parser.parse_args(arguments).services or SERVICES
    unknown = [service for service in chosen if service not in SERVICES]
    if unknown:
        parser.error(f"only {', '.join(SERVICES)} can be rolled, not {', '.join(unknown)}")
    try:
        for service in chosen:
            roll(service, run_command, lambda line: sys.stdout.write(line + "\n"))
    except (RollError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
