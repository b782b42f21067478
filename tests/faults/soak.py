"""Hours of load with one fault a minute; what every process uses is noted, and must not grow.

In the first twelve minutes of an hour each of our processes is killed once and restarted once, in an order that is
drawn. Then none of them is ended by us, so that each can be watched for the 45 minutes that a verdict needs: they
are frozen, and the broker is killed, frozen and in alarm, at random.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.faults import results
from tests.faults.account import Account
from tests.faults.load import Load
from tests.faults.results import Round
from tests.faults.scenarios.playing import Play, ready_stage
from tests.faults.stage import PROCESSES, Stage

_RATE = 100.0
_EVERY_S = 60.0
_JOB_EVERY_S = 5.0
_WARM_S = 1200.0
"""What a process uses before it is so old says little: it meets each kind of fault for the first time, with more
connections than before, and the loaded versions grow in number until the oldest are unloaded."""
_LEAST_S = 1500.0
_GROWTH_MB_PER_H = 1.0
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
        for name in (*PROCESSES, "nginx", "broker"):
            blocks = int(stage.metric(name, "warren_python_blocks")) if name in PROCESSES else 0
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

    def growth(self) -> list[str]:
        """What grew: of every process that lived for 45 minutes, its samples after the first twenty."""
        found = []
        for name, samples in self.samples.items():
            warm = [one for one in samples if one.age_s > _WARM_S]
            if not warm or warm[-1].age_s - warm[0].age_s < _LEAST_S:
                continue
            slope = slope_per_h([(one.age_s, one.rss_mb) for one in warm])
            if slope > _GROWTH_MB_PER_H:
                found.append(f"{name} grew by {slope:.1f} MB an hour")
            # Kept connections come and go with the load, and garbage with its collection; a leak raises the least.
            quarter = max(1, len(warm) // 4)
            for what in _MORE:
                # 0 blocks is a program that did not answer.
                first, last = (
                    min((getattr(one, what) for one in part if getattr(one, what)), default=0)
                    for part in (warm[:quarter], warm[-quarter:])
                )
                if last > first + _MORE[what]:
                    found.append(f"{name}: {first} to {last} {what}")
        return found


def slope_per_h(points: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope of values over seconds, per hour."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / below if below else 0.0


Fault = Callable[[Stage, random.Random], str]


def _kill(name: str) -> Fault:
    def kill(stage: Stage, _draw: random.Random) -> str:
        stage.kill(name)
        return f"killed {name}"

    return kill


def _restart(name: str) -> Fault:
    def restart(stage: Stage, _draw: random.Random) -> str:
        stage.restart(name)
        return f"restarted {name}"

    return restart


def _kill_broker(stage: Stage, _draw: random.Random) -> str:
    before = stage.pid("broker")
    stage.kill("broker")
    stage.wait_back("broker", before)
    return "killed the broker"


def _freeze_predictor(stage: Stage, draw: random.Random) -> str:
    name = draw.choice(("predictor-1", "predictor-2"))
    frozen = stage.freeze(name)
    time.sleep(draw.uniform(2, 12))
    stage.thaw(frozen)
    return f"froze {name}"


def _freeze_other(stage: Stage, draw: random.Random) -> str:
    name = draw.choice(("worker", "trainer", "broker"))
    frozen = stage.freeze(name)
    time.sleep(draw.uniform(2, 8))
    stage.thaw(frozen)
    return f"froze {name}"


def _alarm(stage: Stage, draw: random.Random) -> str:
    stage.ctl("set_vm_memory_high_watermark", "0")
    time.sleep(draw.uniform(2, 8))
    stage.ctl("set_vm_memory_high_watermark", "0.25")
    return "alarm at the broker"


def _reload(stage: Stage, _draw: random.Random) -> str:
    stage.reload_nginx()
    return "reloaded Nginx"


DEATHS: tuple[tuple[Fault, bool], ...] = tuple((how(name), False) for name in PROCESSES for how in (_kill, _restart))
"""How each of our processes ends, and whether predictions may be refused meanwhile."""
FAULTS: tuple[tuple[Fault, bool], ...] = (
    (_freeze_predictor, False),
    (_reload, False),
    (_kill_broker, True),
    (_freeze_other, True),
    (_alarm, True),
)
"""What none of ours dies of, and whether predictions may be refused while it lasts."""


def faults(draw: random.Random) -> Iterator[tuple[Fault, bool]]:
    """A fault for each minute, for ever."""
    while True:
        yield from draw.sample(DEATHS, len(DEATHS))
        for _ in range(60 - len(DEATHS)):
            yield draw.choice(FAULTS)


def soak(minutes: float, seed: int, folder: Path = results.FOLDER) -> Round:
    """Run for so long; what was used is in ``soak-usage.jsonl`` beside the results."""
    done, draw = Round("F37", seed), random.Random(seed)
    stage = ready_stage("plain")
    began = time.monotonic()
    usage, account = Usage(), Account(stage)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / "soak-usage.jsonl").open("a") as file:
            for fault, may_refuse in faults(draw):
                if time.monotonic() - began >= 60 * minutes:
                    break
                what, load = _minute(stage, draw, account, fault)
                Play(stage, 1, draw, done).judge(load, may_refuse=may_refuse)
                done.count("faults", 1, int(bool(load.defects(may_refuse=may_refuse))))
                line = {"at": round(time.monotonic() - began), "fault": what, **load.figures()}
                file.write(json.dumps({**line, "usage": usage.take(stage)}) + "\n")
                file.flush()
                sys.stdout.write(f"{json.dumps(line)}\n")
                sys.stdout.flush()
        outcome = account.settle(240)
        done.defects += [*outcome.defects(), *usage.growth()]
        done.count("jobs", len(account.accepted), len(outcome.lost) + len(outcome.duplicated) + len(outcome.stuck))
    finally:
        stage.remove()
    done.seconds = round(time.monotonic() - began)
    return done


def _minute(stage: Stage, draw: random.Random, account: Account, fault: Fault) -> tuple[str, Load]:
    """A minute of load and jobs with a fault somewhere in its first half; all is ready at its end."""
    ends_at = time.monotonic() + _EVERY_S
    fault_at = time.monotonic() + draw.uniform(2, _EVERY_S / 2)
    what, next_job = "", time.monotonic()
    with Load(stage.url, _RATE, resends=True) as load:
        while time.monotonic() < ends_at:
            if time.monotonic() >= next_job:
                account.submit(real=True)
                next_job += _JOB_EVERY_S
            if not what and time.monotonic() >= fault_at:
                what = fault(stage, draw)
                next_job = time.monotonic()
            time.sleep(0.1)
        for name in PROCESSES:
            stage.wait_back(name)
    return what, load
