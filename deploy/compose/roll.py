"""A rolling update: ``python3 -m deploy.compose.roll [SERVICE …]``, behind ``make compose-roll``.

Between new images (or settings) and a stack that is in use. One container at a time: a new one
is started beside the old ones and becomes healthy, then an old one is told to stop, finishes what
it has, and is removed. Where two may not run beside each other, the old one ends first; this is a
pause, and so it is only done to who is named. Before all of it the one-shot service ``secrets``
makes what the release needs. Standard library only: the machine needs Docker with Compose, nothing
else.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

SERVICES = ("predictor", "trainer", "worker", "api", "nginx")
"""What is rolled, in this order: who answers comes before who asks. Nobody notices."""

ALONE = ("postgres", "rabbitmq", "door")
"""What may not run twice (two on one volume, or on one port); replaced when named, with a pause of seconds."""

MAKE_SECRETS = ("docker", "compose", "run", "--rm", "-T", "secrets")
"""Leaves what is there, makes what is missing, and says when the broker's definitions were last written."""

_BROKER = "rabbitmq"
_WITHOUT_BROKER = ("nginx", "postgres", "door")
_HEALTHY_S = 120.0
_STOP_S = 60
_COMMAND_S = 300.0
_PAUSE_S = 0.25

Run = Callable[[Sequence[str]], str]
"""Runs a command and gives what it says; raises RollError."""


class RollError(Exception):
    """A command failed, or a new container did not become healthy; the old ones still run."""


def prepare(chosen: Sequence[str], run: Run) -> None:
    """Make what new containers need. Raises RollError where it must be read by a broker that is not chosen."""
    # Images of an earlier release say nothing.
    written_s = int((run(MAKE_SECRETS).split() or ["0"])[-1])
    if _BROKER in chosen or not {*chosen} - {*_WITHOUT_BROKER}:
        return
    if any(_started_s(container, run) < written_s for container in _containers(_BROKER, run)):
        raise RollError(
            "The broker's users, rights and queues were written anew, and it reads them when it starts. Nothing was"
            f" replaced. Name the broker too, which is a pause: `python3 -m deploy.compose.roll {_BROKER}"
            f" {' '.join(chosen)}`."
        )


def roll(service: str, run: Run, say: Callable[[str], object]) -> None:
    """Replace every container of a service. Raises RollError; what was not replaced yet goes on."""
    old = _containers(service, run)
    for number, container in enumerate(old, start=1):
        there = {one: _containers(one, run) for one in SERVICES}
        scales = [f"{one}={len(containers) + (one == service)}" for one, containers in there.items()]
        # Not `up --no-deps`: Compose takes a container without its dependencies for one of another
        # configuration, so the next plain `up` would recreate it, and everything that depends on it.
        run(["docker", "compose", "create", "--no-recreate", *(part for one in scales for part in ("--scale", one))])
        [fresh] = {*_containers(service, run)} - {*there[service]}
        run(["docker", "start", fresh])
        _wait_healthy(service, fresh, run)
        # SIGTERM; within the grace period the process answers what it has taken.
        run(["docker", "stop", "-t", str(_STOP_S), container])
        run(["docker", "rm", container])
        say(f"{service}: {number} of {len(old)} replaced")


def replace(service: str, run: Run, say: Callable[[str], object]) -> None:
    """Stop a service's only container, and start a new one on the same volume. Raises RollError."""
    begun = time.monotonic()
    run(["docker", "compose", "create", "--force-recreate", service])
    [fresh] = _containers(service, run)
    run(["docker", "start", fresh])
    status = _settled(fresh, run)
    if status != "healthy":
        raise RollError(
            f"The new {service} is {status} after {_HEALTHY_S:.0f} s, and there is no other one; its data is as it"
            f" was. `docker compose logs {service}` says why; mend it, or go back to the image before and"
            f" `python3 -m deploy.compose.roll {service}`."
        )
    say(f"{service}: replaced, {time.monotonic() - begun:.0f} s from the first to the last step")


def _containers(service: str, run: Run) -> list[str]:
    """Those that Compose counts, running or not; not what `docker compose run` made."""
    listed = run(["docker", "compose", "ps", "-a", "-q", service]).split()
    found = json.loads(run(["docker", "inspect", *listed])) if listed else []
    return [one["Id"] for one in found if one["Config"]["Labels"].get("com.docker.compose.oneoff") != "True"]


def _wait_healthy(service: str, container: str, run: Run) -> None:
    status = _settled(container, run)
    if status != "healthy":
        run(["docker", "rm", "-f", container])
        raise RollError(f"The new {service} is {status} after {_HEALTHY_S:.0f} s and was removed; the old ones run.")


def _settled(container: str, run: Run) -> str:
    """``healthy``, or what it is instead when the time is over."""
    end = time.monotonic() + _HEALTHY_S
    while (status := _health(container, run)) != "healthy" and time.monotonic() <= end:
        time.sleep(_PAUSE_S)
    return status


def _health(container: str, run: Run) -> str:
    return str(_state(container, run).get("Health", {}).get("Status", "without a health check"))


def _started_s(container: str, run: Run) -> float:
    """In seconds since 1970, whole ones."""
    # Fractions are nanoseconds, and "Z" is a zone since Python 3.11 only.
    stamp = re.sub(r"\.\d+", "", _state(container, run)["StartedAt"]).replace("Z", "+00:00")
    return datetime.fromisoformat(stamp).timestamp()


def _state(container: str, run: Run) -> dict[str, Any]:
    [found] = json.loads(run(["docker", "inspect", container]))
    return dict(found["State"])


def run_command(command: Sequence[str]) -> str:
    """Run a command of the engine. Raises RollError with what it said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_S)
    if done.returncode != 0:
        raise RollError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 when every container was replaced."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.compose.roll", description=__doc__)
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        help=f"{', '.join(SERVICES)} (all of these by default), or, with a pause, {', '.join(ALONE)}",
    )
    chosen = parser.parse_args(arguments).services or SERVICES
    unknown = [service for service in chosen if service not in (*SERVICES, *ALONE)]
    if unknown:
        parser.error(f"only {', '.join((*SERVICES, *ALONE))} can be replaced, not {', '.join(unknown)}")
    try:
        prepare(chosen, run_command)
        # What the broker reads at its start is there before anybody asks for it.
        for service in sorted(chosen, key=lambda service: service != _BROKER):
            action = replace if service in ALONE else roll
            action(service, run_command, _say)
    except (RollError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
