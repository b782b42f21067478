"""What the processes of a stack use for an hour, and by which rules that is judged."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
import psutil

from tests.faults.stage import PROCESSES, Stage

WATCHED = (*PROCESSES, "nginx", "broker")
"""The programs of which each must have had a process that could be judged."""
_WARM_S = 1200.0
"""What a process uses before it is so old says little: it meets each kind of fault for the first time, with more
connections than before, and the loaded versions grow in number until the oldest are unloaded."""
_LEAST_S = 1500.0
_GROWTH_MB_PER_H = 1.0
_BROKER_MB = 5.0
"""What the least of the broker's last quarter may be above that of the first. Erlang takes memory from the system in
pieces of up to megabytes and gives back only empty ones: its size goes in steps, of which one is no slope."""
_MORE = {"fds": 16, "threads": 4, "blocks": 10_000}
"""What the least of the last quarter may be above that of the first; so many blocks are about a megabyte."""


class Sample(NamedTuple):
    """One process at one moment: seconds of its own life, resident MB, threads, open file descriptors.

    ``blocks`` is what its program says that the interpreter has allocated (0: it says nothing): what is kept for good
    raises it, and no fragmentation and no highest load so far, both of which raise the resident size.
    """

    age_s: float
    rss_mb: float
    threads: int
    fds: int
    blocks: int = 0


@dataclass
class Usage:
    """The samples of every process that lived, by name and pid."""

    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))

    def take(self, stage: Stage) -> dict[str, Sample]:
        """Look at every process of ours, Nginx and the broker."""
        taken = {}
        for name in WATCHED:
            blocks = _blocks(stage, name) if name in PROCESSES else 0
            for pid in stage.pids(name):
                try:
                    process = psutil.Process(pid)
                    age_s = time.time() - process.create_time()
                    size_mb = process.memory_info().rss / 2**20
                    sample = Sample(round(age_s), round(size_mb, 2), process.num_threads(), process.num_fds(), blocks)
                except psutil.Error:
                    continue
                taken[f"{name}/{pid}"] = sample
                self.samples[f"{name}/{pid}"].append(sample)
        return taken

    def warm(self) -> dict[str, list[Sample]]:
        """Of every process that lived for 45 minutes, its samples after the first twenty."""
        found = {name: [one for one in samples if one.age_s > _WARM_S] for name, samples in self.samples.items()}
        return {name: warm for name, warm in found.items() if warm and warm[-1].age_s - warm[0].age_s >= _LEAST_S}

    def unwatched(self) -> list[str]:
        """The programs none of whose processes lived long enough to be judged."""
        judged = {name.partition("/")[0] for name in self.warm()}
        return [f"{name} was not watched long enough" for name in WATCHED if name not in judged]

    def growth(self) -> list[str]:
        """What grew of those that can be judged."""
        found = []
        for name, warm in self.warm().items():
            found += _grown_mb(name, warm)
            for what, most in _MORE.items():
                first, last = _least(warm, what)
                if last > first + most:
                    found.append(f"{name}: {first:g} to {last:g} {what}")
        return found


def _grown_mb(name: str, warm: Sequence[Sample]) -> list[str]:
    if name.startswith("broker/"):
        first, last = _least(warm, "rss_mb")
        return [f"{name}: {first:g} to {last:g} MB"] if last > first + _BROKER_MB else []
    slope = slope_per_h([(one.age_s, one.rss_mb) for one in warm])
    return [f"{name} grew by {slope:.1f} MB an hour"] if slope > _GROWTH_MB_PER_H else []


def _least(warm: Sequence[Sample], what: str) -> tuple[float, float]:
    """The least of the first and of the last quarter.

    Kept connections come and go with the load, and garbage with its collection; a leak raises the least. A program
    that did not answer says 0 blocks, which is left out.
    """
    quarter = max(1, len(warm) // 4)
    first, last = (
        min((getattr(one, what) for one in part if getattr(one, what)), default=0)
        for part in (warm[:quarter], warm[-quarter:])
    )
    return first, last


def slope_per_h(points: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope of values over seconds, per hour."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / below if below else 0.0


def lasting(stage: Stage) -> dict[str, set[int]]:
    """Of every program the processes that only a fault may end.

    Those are what the supervisor started, and a replica's worker; a trainer has others for a while, and Nginx has new
    workers when it is reloaded.
    """
    return {
        name: {one.pid, *(stage.pids(name) if name.startswith("api-") else ())}
        for name, one in stage.processes().items()
    }


def deaths(before: Mapping[str, set[int]], after: Mapping[str, set[int]], ended: str) -> list[str]:
    """Who is gone without a fault; ``ended`` is the program that was ended on purpose, if there was one."""
    return [
        f"{name} died by itself: {sorted(gone)}"
        for name, pids in before.items()
        if name != ended and (gone := pids - after.get(name, set()))
    ]


def _blocks(stage: Stage, name: str) -> int:
    """0 of one that is only just coming back."""
    try:
        return int(stage.metric(name, "warren_python_blocks"))
    except httpx.HTTPError:
        return 0
