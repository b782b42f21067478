"""Hours of load with one fault a minute; what every process uses is noted, and must not grow.

In the first thirteen minutes of an hour each of our processes is killed once and restarted once, and the broker is
killed, in an order that is drawn. Then nobody is ended by us, so that each can be watched for the 45 minutes that a
verdict needs: each of our processes and the broker is frozen, the broker is in alarm and Nginx is reloaded, first once
each, then at random. So everybody has met each of these once before he is judged.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import results
from tests.faults.account import Account
from tests.faults.load import Load
from tests.faults.results import Round
from tests.faults.scenarios.playing import Play, ready_stage
from tests.faults.stage import PROCESSES, Stage
from tests.faults.usage import Usage, deaths, lasting

_RATE = 100.0
_EVERY_S = 60.0
_JOB_EVERY_S = 5.0
_MANY_AT_MIN = (0, 10, 20, 30)
_MANY_JOBS = 16
"""At once, in these minutes of an hour: twice what a worker follows, so that it has all its threads, and everybody his
highest load, before he is judged."""
_JUDGED_AFTER_MIN = 60
"""A run of so many minutes must have watched everybody for long enough."""


Hurt = Callable[[Stage, random.Random], str]


@dataclass(frozen=True)
class Fault:
    """``hurt`` says what it did; ``ends`` is the program whose processes it ends, if it does."""

    hurt: Hurt
    ends: str = ""
    may_refuse: bool = False
    """Whether predictions may be refused meanwhile."""


def _kill(name: str) -> Hurt:
    def kill(stage: Stage, _draw: random.Random) -> str:
        stage.kill(name)
        return f"killed {name}"

    return kill


def _restart(name: str) -> Hurt:
    def restart(stage: Stage, _draw: random.Random) -> str:
        stage.restart(name)
        return f"restarted {name}"

    return restart


def _kill_broker(stage: Stage, _draw: random.Random) -> str:
    before = stage.pid("broker")
    stage.kill("broker")
    stage.wait_back("broker", before)
    return "killed the broker"


def _freeze(name: str, most_s: float) -> Hurt:
    def freeze(stage: Stage, draw: random.Random) -> str:
        frozen = stage.freeze(name)
        time.sleep(draw.uniform(2, most_s))
        stage.thaw(frozen)
        return f"froze {name}"

    return freeze


def _alarm(stage: Stage, draw: random.Random) -> str:
    stage.ctl("set_vm_memory_high_watermark", "0")
    time.sleep(draw.uniform(2, 8))
    stage.ctl("set_vm_memory_high_watermark", "0.25")
    return "alarm at the broker"


def _reload(stage: Stage, _draw: random.Random) -> str:
    stage.reload_nginx()
    return "reloaded Nginx"


DEATHS = (
    *(Fault(how(name), name) for name in PROCESSES for how in (_kill, _restart)),
    Fault(_kill_broker, "broker", may_refuse=True),
)
"""How each of our processes, and the broker, ends."""
FAULTS = (
    *(Fault(_freeze(name, 12)) for name in ("predictor-1", "predictor-2", "worker", "trainer")),
    Fault(_freeze("broker", 8), may_refuse=True),
    Fault(_reload),
    Fault(_alarm, may_refuse=True),
)
"""What nobody dies of."""


def faults(draw: random.Random) -> Iterator[Fault]:
    """A fault for each minute, for ever."""
    while True:
        yield from draw.sample(DEATHS, len(DEATHS))
        yield from draw.sample(FAULTS, len(FAULTS))
        for _ in range(60 - len(DEATHS) - len(FAULTS)):
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
            for minute, fault in enumerate(faults(draw)):
                if time.monotonic() - began >= 60 * minutes:
                    break
                before = lasting(stage)
                for _ in range(_MANY_JOBS if minute % 60 in _MANY_AT_MIN else 0):
                    account.submit(real=True)
                what, load = _minute(stage, draw, account, fault)
                done.defects += deaths(before, lasting(stage), fault.ends)
                Play(stage, 1, draw, done).judge(load, may_refuse=fault.may_refuse)
                done.count("faults", 1, int(bool(load.defects(may_refuse=fault.may_refuse))))
                line = {"at": round(time.monotonic() - began), "fault": what, **load.figures()}
                file.write(json.dumps({**line, "usage": usage.take(stage)}) + "\n")
                file.flush()
                sys.stdout.write(f"{json.dumps(line)}\n")
                sys.stdout.flush()
        outcome = account.settle(240)
        done.defects += [*outcome.defects(), *usage.growth()]
        if minutes >= _JUDGED_AFTER_MIN:
            done.defects += usage.unwatched()
        done.count("jobs", len(account.accepted), len(outcome.lost) + len(outcome.duplicated) + len(outcome.stuck))
    finally:
        stage.remove()
    done.blame()
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
                what = fault.hurt(stage, draw)
                next_job = time.monotonic()
            time.sleep(0.1)
        for name in PROCESSES:
            stage.wait_back(name)
    return what, load
