"""What is measured, in which order: every server, every model, every cell, three rounds in turn."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.servers import PEERS, Server
from benchmarks.workloads import WORKLOADS, Workload

ROUNDS = 3
"""Repetitions; each starts with another server."""


@dataclass(frozen=True)
class Cell:
    """One kind of load: rows a request, connections, seconds."""

    rows: int
    connections: int
    duration_s: int
    bodies: int

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.rows}x{self.connections}"


CELLS = (
    Cell(1, 1, 2, 500),
    Cell(1, 16, 2, 500),
    Cell(1, 64, 3, 500),
    Cell(1, 256, 2, 500),
    Cell(100, 16, 2, 40),
    Cell(10_000, 4, 3, 4),
)
"""Single rows at 1, 16, 64 and 256 connections; 100 rows at 16; 10,000 rows at 4."""


@dataclass(frozen=True)
class Step:
    """One server with one model in one round; None is Warren."""

    round: int
    workload: Workload
    server: Server | None

    @property
    def key(self) -> str:
        """Its name in the file of results."""
        return f"{self.round}/{self.workload.name}/{self.server.name if self.server else 'Warren'}"


def cells(server: Server | None, workload: Workload) -> list[Cell]:
    """The cells that say something: batches and mere overheads are not measured where they can't matter."""
    if server is None:
        return list(CELLS)
    if server.path == "/empty" or server.name.startswith("RabbitMQ"):
        return [cell for cell in CELLS if cell.rows == 1 and cell.connections == 64]
    if server.batching == "on":
        return [cell for cell in CELLS if cell.rows == 1]
    return list(CELLS)


def steps(only: str | None = None) -> list[Step]:
    """All steps. Within a round the models follow each other, and each meets all servers in rotated order."""
    order: list[Step] = []
    for number in range(ROUNDS):
        for workload in WORKLOADS:
            line: list[Server | None] = [None, *(s for s in PEERS if not s.only or workload.name in s.only)]
            shift = number * len(line) // ROUNDS
            order += [Step(number, workload, server) for server in (*line[shift:], *line[:shift])]
    return [step for step in order if only is None or only in step.key]
