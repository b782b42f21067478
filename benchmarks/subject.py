"""A server while it is measured: asked in its own form, its answers compared with scikit-learn's.

In come a running server and one kind of load; out goes one line of measurements.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import client, measuring, plan, processes, warren_side
from benchmarks.client import Address, Answer
from benchmarks.plan import Cell
from benchmarks.servers import Server
from benchmarks.standing import Standing
from benchmarks.warren_side import Truth
from benchmarks.workloads import Row, Workload

ALONE, TOGETHER = 30, 400
"""Rows that a check asks one after the other, and rows it asks in one request."""

Measurement = dict[str, Any]


class Questions:
    """The rows of every cell of one workload with the answers that are right; made once."""

    def __init__(self, workload: Workload, truth: Truth) -> None:
        self.workload = workload
        self._truth = truth
        self._rows: dict[str, list[list[Row]]] = {}
        self._right: dict[str, list[list[int]]] = {}
        self._bodies: dict[tuple[str, str], list[bytes]] = {}

    def rows(self, cell: Cell) -> list[list[Row]]:
        """The rows of each request."""
        if cell.key not in self._rows:
            together = self.workload.rows(cell.rows * cell.bodies, seed=1 + plan.CELLS.index(cell))
            self._rows[cell.key] = [together[at : at + cell.rows] for at in range(0, len(together), cell.rows)]
        return self._rows[cell.key]

    def right(self, cell: Cell) -> list[list[int]]:
        """What scikit-learn predicts for them, as class indices."""
        if cell.key not in self._right:
            asked = self.rows(cell)
            found = self._truth.predict([row for rows in asked for row in rows])
            self._right[cell.key] = [found[at : at + cell.rows] for at in range(0, len(found), cell.rows)]
        return self._right[cell.key]

    def bodies(self, cell: Cell, name: str, encode: Callable[[list[Row], Workload], bytes]) -> list[bytes]:
        """The requests in the form of the server ``name``."""
        if (cell.key, name) not in self._bodies:
            self._bodies[cell.key, name] = [encode(rows, self.workload) for rows in self.rows(cell)]
        return self._bodies[cell.key, name]

    def wrong(self, cell: Cell, answers: Sequence[Answer], decode: Callable[[bytes], list[Any]]) -> int:
        """How many of the answers with status 200 are not scikit-learn's."""
        right = self.right(cell)
        return sum(
            self._truth.indices(answer.body, decode) != right[answer.number % len(right)]
            for answer in answers
            if answer.status == 200
        )

    def differs(self, rows: list[Row], answer: Answer, decode: Callable[[bytes], list[Any]]) -> bool:
        """Whether one answer to many rows is wrong."""
        return answer.status == 200 and self._truth.indices(answer.body, decode) != self._truth.predict(rows)


class Subject:
    """Warren or a standing peer."""

    def __init__(self, name: str, url: str, pids: list[int], server: Server | None, standing: Standing | None) -> None:
        self.name = name
        self._address = Address.of(url)
        self._url = url
        self._pids = pids
        self._server = server
        self._standing = standing

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """The server goes on for the time of the block, if it was stopped."""
        if self._standing is not None:
            self._standing.running.go_on()
        try:
            yield
        finally:
            if self._standing is not None:
                self._standing.pause()

    def measure(self, questions: Questions, cell: Cell, file: Path, rate: float = 0.0) -> Measurement:
        """One cell; ``rate`` is the open loop's. CPU and memory are those of all its processes."""
        # Its own format is a form of its own: the same rows in other bytes.
        form = f"{self.name}, own" if cell is plan.OWN else self.name
        bodies = questions.bodies(cell, form, self._encode(cell))
        address = self._address
        if self._server is None and cell is plan.OWN:
            address = warren_side.tensor_address(address, questions.workload)
        client.run(client.in_turn(address, bodies, min(4, cell.connections or 4), 0.2, repeat=cell.rows < 1000))
        if cell.way == "check":
            return self._check(questions, bodies)
        before = processes.cost(self._pids, memory=False)
        wrong = 0
        if cell.way == "closed":
            load = measuring.closed_loop(self._url, bodies, file, cell.connections, cell.duration_s)
        else:
            load, answers = (
                measuring.large(address, bodies, cell.connections, cell.duration_s)
                if cell.way == "large"
                else measuring.open_loop(address, bodies, rate, cell.duration_s)
            )
        after = processes.cost(self._pids)
        if cell.way != "closed":
            wrong = questions.wrong(cell, answers, self._decode(cell))
        cpu_s = (after.cpu_s - before.cpu_s) * 1000 / max(1, load.requests)
        found = asdict(load) | {"cpu_s_per_1000": cpu_s, "pss_bytes": after.pss_bytes, "wrong": wrong}
        return found | ({"rate": rate} if rate else {})

    def _check(self, questions: Questions, bodies: list[bytes]) -> Measurement:
        """Rows alone, in one large request, and a different one in each of many requests at once."""
        alone = client.run(client.in_turn(self._address, bodies[:ALONE], 1, 2.0, repeat=False))
        many = client.run(client.in_turn(self._address, bodies, plan.CHECK.connections, 2.0, repeat=False))
        answers = [answer for line in (*alone, *many) for answer in line]
        decode = self._decode(plan.CHECK)
        wrong = questions.wrong(plan.CHECK, answers, decode)
        rows = [row for rows in questions.rows(plan.CHECK)[:TOGETHER] for row in rows]
        together = client.run(
            client.in_turn(self._address, [self._encode(plan.CHECK)(rows, questions.workload)], 1, 9.0, repeat=False)
        )[0][0]
        wrong += questions.differs(rows, together, decode)
        errors = sum(answer.status != 200 for answer in (*answers, together))
        return {"requests": len(answers) + 1, "wrong": wrong, "errors": errors}

    def _encode(self, cell: Cell) -> Callable[[list[Row], Workload], bytes]:
        if self._server is None:
            return warren_side.tensors if cell is plan.OWN else warren_side.body
        return self._server.nested if cell is plan.NESTED and self._server.nested else self._server.encode

    def _decode(self, cell: Cell) -> Callable[[bytes], list[Any]]:
        if self._server is None:
            return warren_side.decode_tensors if cell is plan.OWN else warren_side.decode
        return self._server.decode
