"""The stack under test, started as ``make up`` does, in a home of its own; and a plain broker.

The plain broker is for the tutorials' RPC, which needs RabbitMQ's default exchange and its
``guest``; Warren's own users may not touch either.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.native import nginx
from deploy.native.broker import Node, Ports
from deploy.native.layout import CHECKOUT, Layout

_COMMAND = (sys.executable, "-m", "deploy.native")

PORT = 8480
"""Nginx's port of the stack under test."""


@dataclass(frozen=True)
class Stack:
    """A running stack: its address, its supervisor's pid, and the plain broker's URL and pid."""

    url: str
    pids: list[int]
    tutorial_broker_url: str
    tutorial_broker_pids: list[int]


def layout(home: Path) -> Layout:
    """Where the stack in ``home`` keeps what."""
    return Layout.from_environment(_environment(home))


@contextlib.contextmanager
def started(home: Path, *, plain_broker: bool = True, **more: str) -> Iterator[Stack]:
    """A stack that stops when the block ends; ``more`` are variables of its ``make up``.

    Raises CalledProcessError when it does not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as ending:
        ending.callback(stop, home)
        subprocess.run([*_COMMAND, "up"], env=_environment(home) | more, check=True, stdout=subprocess.DEVNULL)
        url, brokers = "", []
        if plain_broker:
            node = Node(home.parent / "plain-broker", Ports.free())
            ending.callback(node.stop)
            node.start()
            node.wait_ready()
            url, brokers = f"amqp://guest:guest@127.0.0.1:{node.ports.amqp}/%2F", [node.pid]
        pid = int(layout(home).supervisor_pid.read_text())
        yield Stack(f"http://127.0.0.1:{PORT}", [pid], url, brokers)


def stop(home: Path) -> None:
    """Stop the stack in ``home``, if one runs."""
    subprocess.run([*_COMMAND, "down"], env=_environment(home), check=True, stdout=subprocess.DEVNULL)


def _environment(home: Path) -> dict[str, str]:
    return os.environ | {"WARREN_HOME": str(home), "WARREN_PORT": str(PORT)}


def in_front(port: int, folder: Path) -> tuple[list[Path], list[str]]:
    """The sockets of two API processes, and the command of a Nginx on ``port`` with Warren's own configuration.

    Filled in from the same template as the stack's, so that what is compared is what is behind it; but
    both processes always get their share, because it is faster so where nothing is sent in batches.
    """
    layout = Layout(CHECKOUT, folder, folder / "models", port)
    layout.create()
    nginx.write(layout, nginx.NEVER)
    return [layout.replica_socket(number) for number in range(1, layout.replicas + 1)], nginx.command(layout)
