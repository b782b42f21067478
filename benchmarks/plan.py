"""What is measured, in which order: by model, round and cell, Warren and the peers in turn.

A block is one cell of one model in one round: every server that the cell says something about, one
after the other, Warren before the first, after the last and in between. A block takes a minute or
less, so what is compared ran within that minute. The servers' order rotates from round to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.servers import PEERS, Server
from benchmarks.workloads import WORKLOADS, Workload

ROUNDS = 3
"""Repetitions of every block."""

START_S = 60.0
"""Seconds to start and stop the servers of one model."""

WARREN = "Warren"
"""Its name among the servers."""


@dataclass(frozen=True)
class Cell:
    """One kind of load.

    ``rows`` in a request, ``connections``, seconds, different bodies; ``between`` is how many peers
    are measured between two measurements of Warren, 0 where it has no part. ``way`` is how: "check"
    compares answers, "closed" is wrk, "large" our own client, "open" a fixed rate, half of the
    peer's own peak, for the peer and then for Warren.
    """

    key: str
    rows: int
    connections: int
    duration_s: int
    bodies: int
    between: int
    way: str = "closed"


CHECK = Cell("check", 1, 64, 2, 1_000, 99, "check")
SINGLE = Cell("1x1", 1, 1, 2, 500, 4)
PEAK = Cell("1x64", 1, 64, 3, 500, 4)
HUNDRED = Cell("100x16", 100, 16, 2, 40, 6)
NESTED = Cell("10000x4", 10_000, 4, 3, 4, 5, "large")
OWN = Cell("10000x4 own", 10_000, 4, 3, 4, 5, "large")
OPEN = Cell("open", 1, 0, 6, 500, 0, "open")
CELLS = (
    CHECK,
    SINGLE,
    Cell("1x16", 1, 16, 2, 500, 7),
    PEAK,
    Cell("1x256", 1, 256, 2, 500, 7),
    HUNDRED,
    NESTED,
    OWN,
    OPEN,
)
"""The open loop comes last: it needs the peaks."""


@dataclass(frozen=True)
class Block:
    """One cell of one model in one round."""

    workload: Workload
    round: int
    cell: Cell
    servers: tuple[str, ...]
    """Names in the order they are measured."""

    @property
    def key(self) -> str:
        """Its name among the measurements."""
        return f"{self.workload.name}/{self.round}/{self.cell.key}"

    @property
    def seconds(self) -> float:
        """About how long it takes: the load, and half a second to wake a server and warm it up."""
        if self.cell.way == "open":  # of each pair only the faster setting, and Warren at the same rate
            return len({name.split(",")[0] for name in self.servers}) * 2 * (self.cell.duration_s + 0.5)
        return len(self.servers) * (self.cell.duration_s * (0.6 if self.cell.way == "check" else 1) + 0.5)


def meant_for(server: Server, workload: Workload, cell: Cell) -> bool:
    """Whether a cell says something about a server: what can't matter is not measured.

    Everybody meets 1 and 64 connections, with batching on and off, so that "the best" is the best.
    16 and 256 connections are for each framework's batching setting and for those that have one
    setting. 10,000 rows in a request are a batch already, and MLServer's protocol has no nested rows
    of numbers beside texts: it meets them in its own form only. Ray Serve, 5 times slower than the
    others on small requests, meets what a goal needs.
    """
    if server.only and workload.name not in server.only:
        return False
    if server.only:
        return cell is PEAK or (cell is CHECK and server.compares)
    if cell is OPEN:
        return workload.name == "logistic" and server.kind == "framework"
    if cell is OWN:
        return server.kind == "framework" and server.batching == "off"
    if cell in (CHECK, SINGLE, PEAK):
        return True
    if cell is NESTED and workload.texts and server.environment == "mlserver":
        return False
    if cell is NESTED or server.environment == "rayserve":
        return cell in (HUNDRED, NESTED) and server.batching == "off"
    if cell is HUNDRED:
        return True
    if server.name == "FastAPI with ONNX Runtime":
        return workload.name == "logistic"
    return server.batching == "on" or server.environment in ("mlflow", "inline")


def turns(peers: Sequence[str], between: int, shift: int) -> tuple[str, ...]:
    """The peers, rotated by ``shift``, with Warren first, last, and after every ``between`` of them (0: not)."""
    rotated = [*peers[shift:], *peers[:shift]]
    if not between:
        return tuple(rotated)
    order = [WARREN]
    for at in range(0, len(rotated), between):
        order += [*rotated[at : at + between], WARREN]
    return tuple(order)


def blocks(only: str | None = None, rounds: int = ROUNDS) -> list[Block]:
    """All blocks in the order they run. ``only`` is ``model/server/cell``, each a part of a name or empty.

    One connection comes first, in all rounds: BentoML's batcher waits for company for minutes after
    it had some, and an hour that begins with a crowd would count that against it.
    """
    model, server, cell = (*(only or "").split("/"), "", "")[:3]
    order = [(number, SINGLE) for number in range(rounds)]
    order += [(number, one) for number in range(rounds) for one in CELLS if one is not SINGLE]
    found = []
    for workload in WORKLOADS:
        for number, one in order:
            peers = [p.name for p in PEERS if meant_for(p, workload, one) and server in p.name]
            if not peers or model not in workload.name or (cell and cell != one.key):
                continue
            shift = number * len(peers) // max(1, rounds)
            found.append(Block(workload, number, one, turns(peers, one.between, shift)))
    return found


def loaded(block_list: Sequence[Block], workload: Workload) -> list[Server]:
    """The peers that a workload's blocks need."""
    names = {name for block in block_list if block.workload == workload for name in block.servers}
    return [peer for peer in PEERS if peer.name in names]


def seconds(block_list: Sequence[Block]) -> float:
    """About how long the blocks take, with the starts and stops of each model's servers."""
    return sum(block.seconds for block in block_list) + START_S * len({block.workload.name for block in block_list})
