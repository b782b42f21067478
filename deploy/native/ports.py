"""The TCP ports of one stack: Nginx's own, and a block of internal ones derived from it.

In comes ``WARREN_PORT``; out goes a block of 40 ports below Linux's ephemeral range (32768), so
that no outgoing connection can take one. The block is remembered in the stack's home. If another
process holds one of its ports, the next free block is taken, so stacks never share a block.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.native import strays
from deploy.native.broker import HOST
from deploy.native.layout import DeploymentError, Layout

_FIRST, _BLOCKS, _SIZE = 20_000, 300, 40
_METRICS = {"api": 20, "worker": 28, "trainer": 29, "predictor": 30}
"""Where in a block the programs of a group begin; those with a number follow each other (layout.MOST)."""


@dataclass(frozen=True)
class PortBlock:
    """The internal ports, all on loopback, starting at ``first``."""

    first: int

    @property
    def amqp(self) -> int:
        """RabbitMQ's AMQP listener."""
        return self.first

    @property
    def dist(self) -> int:
        """RabbitMQ's Erlang distribution, for rabbitmqctl."""
        return self.first + 1

    @property
    def epmd(self) -> int:
        """Erlang's port mapper."""
        return self.first + 2

    def replica(self, number: int) -> int:
        """HTTP of API replica ``number``, counted from 1."""
        return self.first + 2 + number

    def metrics(self, program: str) -> int:
        """/metrics, /livez and /readyz of a program. Raises KeyError for one that has none."""
        group, _, number = program.partition("-")
        return self.first + _METRICS[group] + int(number or 1) - 1

    def all(self) -> range:
        """Every port of the block."""
        return range(self.first, self.first + _SIZE)


def taken(port: int, host: str = HOST) -> bool:
    """Whether something listens on this port of an address of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def candidates(port: int) -> Iterator[PortBlock]:
    """Every block, the one derived from ``port`` first, without the one that holds ``port`` itself."""
    for step in range(_BLOCKS):
        block = PortBlock(_FIRST + (port + step) % _BLOCKS * _SIZE)
        if port not in block.all():
            yield block


def remembered(layout: Layout) -> PortBlock | None:
    """The block this stack chose last."""
    try:
        block = PortBlock(int(json.loads(_file(layout).read_text())["first"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return block if layout.port not in block.all() else None


def choose(layout: Layout) -> PortBlock:
    """A block with no port in use, remembered for the next time.

    Raises DeploymentError when Nginx's port is taken (with the process that holds it) or no
    block is free.
    """
    for name, port in (("WARREN_PORT", layout.port), ("WARREN_GRPC_PORT", layout.grpc_port)):
        if port and taken(port, layout.listen):
            raise DeploymentError(
                f"Port {port} is in use by {strays.listener(port)}. "
                f"Stop it, or choose another: {name}={port + 1} make up"
            )
    last = remembered(layout)
    for block in ([last] if last else []) + list(candidates(layout.port)):
        if layout.grpc_port not in block.all() and not any(taken(port) for port in block.all()):
            _file(layout).write_text(json.dumps(asdict(block)))
            return block
    raise DeploymentError(f"No 40 free ports in a row between {_FIRST} and {_FIRST + _BLOCKS * _SIZE}.")


def _file(layout: Layout) -> Path:
    return layout.run / "ports.json"
