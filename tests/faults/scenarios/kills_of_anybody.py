"""F00: api, worker, trainer or broker die at random moments with many jobs under way, and are not waited for."""

from __future__ import annotations

import itertools
import statistics
import time
from concurrent.futures import Future

from tests.faults import endings
from tests.faults.account import Account
from tests.faults.scenarios.job_kills import PROMISE
from tests.faults.scenarios.playing import Play, Scenario
from tests.rabbit import wait_until

_VICTIMS = ("api-1", "api-2", "worker", "trainer", "broker")
_STREAM = 5
"""Jobs asked for before every kill, at least."""
_REAL_EVERY = 5
"""Every so many jobs one that is really fitted."""
_OPEN = 10
"""Jobs that have been accepted and have not ended, shortly before every kill, at least."""
_FEW = 3
"""So many must still be open at the moment of the kill for it to count."""
_MOST_OPEN = 25
"""More are not asked for before some have ended: how late a job ends shall say more than how many were before it."""
_PAUSE_S = 0.4


def kill_anybody(play: Play) -> None:
    """A stream of jobs, and whoever it is dies; only a broker is waited for, without which nobody accepts a job."""
    account = Account(play.stage)
    ask = _Asking(account)
    killed_at, fault_ends = [], []
    for _ in range(play.trials):
        play.pause(2.0)
        ask.more()
        play.pause(_PAUSE_S)
        killed_at.append(time.time())
        _kill(play)
        fault_ends.append(time.time())
    play.stage.wait_ready(*_VICTIMS)
    fault_ends.append(time.time())
    play.judge_jobs(account, account.settle(240), fault_ends)
    open_then = [endings.open_at(endings.spans(account), moment) for moment in killed_at]
    play.round.count("kills", sum(count >= _FEW for count in open_then))
    play.round.figures["least_open"] = min(open_then)
    play.round.figures["median_open"] = statistics.median(open_then)
    play.round.figures["slowest_202_s"] = round(max(account.seconds_to_202, default=0), 2)


class _Asking:
    """Asks for jobs so that many are open."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._open = endings.OpenJobs(account)
        self._numbers = itertools.count()
        self._asked: list[Future[str]] = []

    def more(self) -> None:
        """Ask for a few, and for more until ``_OPEN`` are accepted and have not ended."""
        wait_until(lambda: self._open.count() <= _MOST_OPEN, f"no more than {_MOST_OPEN} jobs are open", 120)
        for _ in range(_STREAM):
            self._ask()
        wait_until(self._enough, f"{_OPEN} jobs are open", 90)

    def _enough(self) -> bool:
        is_open = self._open.count()
        self._asked = [one for one in self._asked if not one.done()]
        for _ in range(_OPEN - is_open - len(self._asked)):
            self._ask()
        return is_open >= _OPEN

    def _ask(self) -> None:
        self._asked.append(self._account.submit(real=next(self._numbers) % _REAL_EVERY == 0))


def _kill(play: Play) -> None:
    """Kill one of those that run."""
    stage = play.stage
    victim = play.rng.choice([name for name in _VICTIMS if stage.pids(name)])
    before = stage.pid(victim)
    stage.kill(victim)
    if victim == "broker":
        stage.wait_back(victim, before)


SCENARIOS = (
    Scenario(
        "F00",
        f"{PROMISE}: anybody dies at any moment",
        "0 of 1,000 jobs over 200 kills",
        kill_anybody,
        faults=None,
        chaos=(10, 22),
    ),
)
