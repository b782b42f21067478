"""The goals, row by row: what is compared with what, what is wanted, what was reached. Pure.

In come a table of measurements and the memory's figures; out go rows for the report.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks import servers
from benchmarks.plan import HUNDRED, NESTED, OPEN, OWN, PEAK, SINGLE, WARREN
from benchmarks.results import Table
from benchmarks.workloads import WORKLOADS

TITLES = {
    "logistic": "logistic regression",
    "forest": "random forest",
    "boosting": "boosting",
    "mixed": "mixed-type pipeline",
}
"""The models in words."""

BEST = "best"
"""Stands for the fastest serving framework of the cell."""


@dataclass(frozen=True)
class Goal:
    """One row: ``least`` says whether the ratio should be at least, or no more than, ``wanted``."""

    work: str
    connections: str
    against: str
    figure: str
    wanted: float
    least: bool
    ratios: tuple[float, ...] = ()
    ours: float | None = None
    theirs: float | None = None

    @property
    def reached(self) -> float | None:
        """The median of the rounds; None when it was not measured."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.reached is None:
            return "not measured"
        return "held" if (self.reached >= self.wanted) == self.least or self.reached == self.wanted else "missed"


_FIGURES = {"requests_per_s": "requests/s", "p50_ms": "median latency, ms", "p99_ms": "p99, ms"}
_ROWS = {
    PEAK: "1 row",
    SINGLE: "1 row",
    HUNDRED: "100 rows",
    NESTED: "10,000 rows, nested JSON",
    OWN: "10,000 rows, own fastest format",
}

_WANTED: tuple[tuple[str, str, str, float], ...] = (
    ("logistic", "rps", BEST, 6),
    ("logistic", "rps", servers.INLINE.name, 5),
    ("logistic", "rps", servers.EMPTY.name, 1.2),
    ("logistic", "rps", servers.GRAPH.name, 1.0),
    ("logistic", "p50", servers.INLINE.name, 1.2),
    ("logistic", "p50", BEST, 0.2),
    ("forest", "rps", BEST, 8),
    ("forest", "rps", servers.INLINE.name, 40),
    ("forest", "p50", servers.INLINE.name, 0.2),
    ("boosting", "rps", BEST, 6),
    ("boosting", "rps", servers.INLINE.name, 6),
    ("mixed", "rps", BEST, 6),
    ("mixed", "rps", servers.INLINE.name, 10),
)
"""Single rows: at 64 connections in requests/s, at 1 connection in median latency."""


def evaluate(table: Table, memory: Mapping[str, Mapping[str, float]]) -> list[Goal]:
    """Every goal, in the order they were set."""
    rows = [_single(table, *wanted) for wanted in _WANTED]
    rows += [_compared(table, one.name, HUNDRED, BEST, "requests_per_s", 4, True) for one in WORKLOADS]
    rows += [_compared(table, one.name, NESTED, BEST, "requests_per_s", 3, True) for one in WORKLOADS]
    rows += [_own_format(table, one.name) for one in WORKLOADS]
    rows.append(_compared(table, "logistic", PEAK, servers.TUTORIAL.name, "requests_per_s", 50, True))
    rows += _open_loop(table)
    rows.append(_memory(table, memory))
    return rows


def _single(table: Table, workload: str, kind: str, against: str, wanted: float) -> Goal:
    if kind == "rps":
        return _compared(table, workload, PEAK, against, "requests_per_s", wanted, True)
    return _compared(table, workload, SINGLE, against, "p50_ms", wanted, False)


def _compared(table: Table, workload: str, cell: object, against: str, figure: str, wanted: float, least: bool) -> Goal:
    assert cell in _ROWS
    # At 1 connection the best peer is the one that wins at 64, with the setting that wins there.
    name = (table.best(workload, (PEAK if cell is SINGLE else cell).key) or "-") if against == BEST else against
    return Goal(
        f"{TITLES[workload]}, {_ROWS[cell]}",
        str(cell.connections),
        f"best peer: {name}" if against == BEST else name,
        _FIGURES[figure],
        wanted,
        least,
        tuple(table.ratios(workload, cell.key, name, figure)),
        table.median(workload, cell.key, WARREN, figure),
        table.median(workload, cell.key, name, figure),
    )


def _own_format(table: Table, workload: str) -> Goal:
    """Warren's binary tensors beside the peer that is fastest in the form it likes best."""
    wanted = 1.1 if workload == "boosting" else 1.5
    compared = _compared(table, workload, OWN, BEST, "requests_per_s", wanted, True)
    ours, theirs = (figure and figure * OWN.rows for figure in (compared.ours, compared.theirs))
    return replace(compared, figure="rows/s", ours=ours, theirs=theirs)


def _open_loop(table: Table) -> list[Goal]:
    """A row for each framework, over the rounds, each with the setting that was the faster one in it."""
    settings: dict[str, list[str]] = {}
    for name in table.servers("logistic", OPEN.key):
        if name != WARREN:
            settings.setdefault(servers.NAMES[name].environment, []).append(name)
    return [_half_peak(table, sorted(names)) for names in settings.values()]


def _half_peak(table: Table, names: Sequence[str]) -> Goal:
    turns = [turn for turn in table.turns("logistic", OPEN.key) if turn["beside"] in names]
    theirs = [turn for turn in turns if turn["server"] != WARREN]
    ours = [turn["p99_ms"] for turn in turns if turn["server"] == WARREN]
    return Goal(
        f"logistic regression, {statistics.median(turn['rate'] for turn in theirs):,.0f} requests/s, "
        "half of the peer's peak",
        "open loop",
        " or ".join([names[0], *(name.partition(", batching ")[2] for name in names[1:])]),
        _FIGURES["p99_ms"],
        1.0,
        False,
        tuple(ratio for name in names for ratio in table.ratios("logistic", OPEN.key, name, "p99_ms")),
        statistics.median(ours) if ours else None,
        statistics.median(turn["p99_ms"] for turn in theirs),
    )


def _memory(table: Table, memory: Mapping[str, Mapping[str, float]]) -> Goal:
    bento = [name for name in table.servers("logistic", PEAK.key) if name.startswith("BentoML")] or [*memory]
    other = next((name for name in bento if name in memory and name != WARREN), "BentoML")
    ours, theirs = (sum(memory[name].values()) if name in memory else None for name in (WARREN, other))
    ratio = (ours / theirs,) if ours and theirs else ()
    work = "whole stack's memory, one logistic regression, 60 s idle"
    return Goal(work, "-", other, "MB (PSS)", 1.3, False, ratio, ours, theirs)


def missed(goals: Sequence[Goal]) -> list[Goal]:
    """The rows that fell short."""
    return [goal for goal in goals if goal.verdict == "missed"]
