"""What measurements say: medians, and ratios of what ran next to each other. Pure.

A ratio is Warren's figure over a peer's, within one block: Warren's mean of its measurement just
before and just after the peer's, so that a machine that drifts moves both sides. What is reported
is the median of the rounds' ratios, not the ratio of medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.plan import WARREN
from benchmarks.servers import NAMES

Turn = dict[str, Any]


def beside(turns: Sequence[Turn], server: str, figure: str) -> list[float]:
    """Warren's figure over ``server``'s, for each time the server was measured in one block."""
    found = []
    for at, turn in enumerate(turns):
        if turn["server"] != server or not turn[figure]:
            continue
        if turn.get("rate"):
            near = [one for one in turns if one["server"] == WARREN and one.get("beside") == server]
        else:
            before = [one for one in turns[:at] if one["server"] == WARREN][-1:]
            near = [*before, *[one for one in turns[at:] if one["server"] == WARREN][:1]]
        if near:
            found.append(statistics.fmean(one[figure] for one in near) / turn[figure])
    return found


class Table:
    """Measurements by block (``model/round/cell``), each with its turns in order."""

    def __init__(self, blocks: Mapping[str, Sequence[Turn]]) -> None:
        self._blocks = blocks

    def turns(self, workload: str, cell: str, server: str | None = None) -> list[Turn]:
        """All measurements of a cell over the rounds, of one server or of all."""
        return [
            turn
            for key, turns in self._blocks.items()
            if key.split("/")[0] == workload and key.split("/", 2)[2] == cell
            for turn in turns
            if server in (None, turn["server"])
        ]

    def median(self, workload: str, cell: str, server: str, figure: str) -> float | None:
        """The median of one figure; None where it was not measured."""
        values = [turn[figure] for turn in self.turns(workload, cell, server) if figure in turn]
        return statistics.median(values) if values else None

    def ratios(self, workload: str, cell: str, server: str, figure: str = "requests_per_s") -> list[float]:
        """Warren over a server, one for each round."""
        return [
            statistics.fmean(found)
            for key, turns in self._blocks.items()
            if key.split("/")[0] == workload and key.split("/", 2)[2] == cell
            if (found := beside(turns, server, figure))
        ]

    def servers(self, workload: str, cell: str) -> list[str]:
        """Who was measured there, the fastest first."""
        names = {turn["server"] for turn in self.turns(workload, cell)}
        speed = {name: self.median(workload, cell, name, "requests_per_s") or 0.0 for name in names}
        return sorted(names, key=lambda name: -speed[name])

    def best(self, workload: str, cell: str) -> str | None:
        """The serving framework with most requests per second, with whichever setting that is."""
        peers = [name for name in self.servers(workload, cell) if name in NAMES and NAMES[name].kind == "framework"]
        return peers[0] if peers else None

    def total(self, figure: str) -> int:
        """The sum of a count over everything."""
        return sum(int(turn.get(figure, 0)) for turns in self._blocks.values() for turn in turns)

    def faults(self, figure: str) -> dict[str, int]:
        """Who had how many wrong answers or errors."""
        found: dict[str, int] = {}
        for turns in self._blocks.values():
            for turn in turns:
                if turn.get(figure):
                    found[turn["server"]] = found.get(turn["server"], 0) + int(turn[figure])
        return found
