"""What a scenario is, and what it is given to play with."""

from __future__ import annotations

import random
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from tests.acceptance.stack import Client
from tests.faults import endings, oracle
from tests.faults.account import Account
from tests.faults.load import Load
from tests.faults.publisher import Press
from tests.faults.results import Results, Round
from tests.faults.stage import Stage
from tests.faults.verdict import Outcome
from wire import topology

STAGES: dict[str, Callable[[], Stage]] = {
    "plain": lambda: Stage.set(woven=False),
    "woven": Stage.set,
    "two trainers": lambda: Stage.set(second_trainer=True),
    # Attempts as they are by default: a job that meets a full volume each time has to end.
    "small volume": lambda: Stage.set(volume_mb=24, WARREN_TRAIN__ATTEMPTS="3"),
    "own disk": lambda: Stage.set(disk_mb=256),
    "three attempts": lambda: Stage.set(WARREN_TRAIN__ATTEMPTS="3"),
    "small ledger": lambda: Stage.set(ledger_mb=8),
    "jumping clock": lambda: Stage.set(own_clock=True),
    "proxied": lambda: Stage.set(proxied=topology.ROLES),
}
"""The kinds of stacks that scenarios run on: ``plain`` has neither failpoints nor the quick child."""
_ENDS_IN_S = 30.0
"""From its 202, or from the last fault, to a job's end."""


@dataclass
class Play:
    """One round under way, the ``number``-th of its scenario from 0 on.

    There are ``trials`` to do on ``stage``; moments come from ``rng``, and what is seen goes into ``round``.
    ``full``: faults last as long as in ``make chaos``, else a part of it.
    """

    stage: Stage
    trials: int
    rng: random.Random
    round: Round
    number: int = 0
    full: bool = False

    def lasting(self, full_s: float, short_s: float) -> float:
        """How long a fault lasts."""
        return full_s if self.full else short_s

    def defect(self, text: str) -> None:
        """A promise did not hold."""
        self.round.defects.append(text)

    def slow(self, text: str) -> None:
        """What came right came late: fails `make chaos`, which has the machine to itself, and no test."""
        self.round.slow.append(text)

    def judge(self, load: Load, *, may_refuse: bool = False) -> None:
        """Write down what the load saw."""
        self.round.defects += load.defects(may_refuse=may_refuse)
        self.round.slow += load.slow()
        bad = [one for one in load.failed if not (may_refuse and one.status in (429, 503))]
        self.round.count("predictions", load.sent, len(bad))
        figures = load.figures()
        for name in ("p50_ms", "p99_ms", "p999_ms", "longest_ms"):
            self.round.figures[name] = max(self.round.figures.get(name, 0), figures[name])

    def judge_jobs(self, account: Account, outcome: Outcome, fault_ends: Sequence[float]) -> None:
        """Write down what became of the jobs; ``fault_ends`` is when each fault was over, in seconds since 1970."""
        self.round.defects += outcome.defects()
        bad = len(outcome.lost) + len(outcome.duplicated) + len(outcome.stuck) + len(outcome.failed)
        self.round.count("jobs", len(account.accepted), bad)
        slowest_s = endings.slowest_end_s(endings.spans(account), fault_ends)
        self.round.figures["slowest_end_s"] = round(slowest_s, 1)
        if slowest_s > _ENDS_IN_S:
            self.slow(f"a job ended {slowest_s:.0f} s after the last fault")

    def compare(self, load: Load, before: Load, times: float) -> None:
        """Write down the p99 of the same load without a fault; more than so many times of it is slow."""
        alone_s, hurt_s = before.quantile_s(0.99), load.quantile_s(0.99)
        self.round.figures["p99_before_ms"] = max(self.round.figures.get("p99_before_ms", 0), round(alone_s * 1000, 1))
        if hurt_s > times * alone_s:
            self.slow(f"the p99 is {hurt_s * 1000:.0f} ms, and {alone_s * 1000:.0f} ms without the fault")

    def pause(self, most_s: float) -> None:
        """Until a random moment, at most so far away: a fault must not come in step with anything."""
        threading.Event().wait(self.rng.uniform(0, most_s))


@dataclass(frozen=True)
class Scenario:
    """``faults`` and ``chaos`` are (rounds, trials per round) of the tiers; ``targets`` says what must hold."""

    name: str
    promise: str
    target: str
    play: Callable[[Play], None]
    faults: tuple[int, int] | None
    chaos: tuple[int, int]
    stage: str = "woven"


def run(
    scenario: Scenario,
    stage: Callable[[], Stage],
    trials: int,
    seed: int,
    kept: Results,
    number: int = 0,
    *,
    full: bool = False,
) -> Round:
    """Play one round, the ``number``-th, and keep it.

    A stack that does not start, an exception of the harness and a time limit (pytest's is no Exception) are
    defects like any other. A round that a person interrupts is none, and is played another time.
    """
    done = Round(scenario.name, seed)
    began = time.monotonic()
    sys.stdout.write(f"{scenario.name}: {trials} trials, seed {seed}\n")
    sys.stdout.flush()
    try:
        scenario.play(Play(stage(), trials, random.Random(seed), done, number, full))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        done.defects.append(f"{type(error).__name__}: {error}")
        if not isinstance(error, Exception):
            _keep(done, kept, began)
            raise
    _keep(done, kept, began)
    return done


def _keep(done: Round, kept: Results, began: float) -> None:
    done.blame()
    done.seconds = round(time.monotonic() - began, 1)
    kept.add(done)


def seed_of(name: str, number: int) -> int:
    """The seed of a scenario's round: the same every time, so that a failure can be played again."""
    return zlib.crc32(f"{name}/{number}".encode())


def ready_stage(kind: str) -> Stage:
    """A started stage with the oracle's models on it."""
    stage = STAGES[kind]()
    try:
        stage.up()
        with Client(stage.url) as client:
            oracle.train(client)
    except BaseException:
        stage.remove()
        raise
    return stage


@dataclass
class Watching:
    """Calls ``look`` again and again in a thread while the block lasts; what it gives are defects.

    So is an end of its own, and that it never came to look.
    """

    look: Callable[[], list[str]]
    every_s: float = 0.05
    looks: int = 0
    found: list[str] = field(default_factory=list)

    def __enter__(self) -> Watching:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(60)
        if not self.looks or self._thread.is_alive():
            self.found.append(f"whoever was to look did so {self.looks} times")

    def _run(self) -> None:
        try:
            while not self._over.wait(self.every_s):
                self.found += self.look()
                self.looks += 1
        except Exception as error:
            self.found.append(f"whoever was to look stopped: {type(error).__name__}: {error}")


def press_of(play: Play) -> Press:
    """What publishes into the volume of the play's stage."""
    return Press(play.stage.layout.home, play.stage.layout.models)
