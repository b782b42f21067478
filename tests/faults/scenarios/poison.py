"""F20, F21: every answer of an RPC comes three times; trainings that end their process stand before good ones."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import Future

from tests.acceptance.stack import ENDED, Client, Json
from tests.faults import quick_child, woven
from tests.faults.account import QUICK, Account
from tests.faults.load import Load
from tests.faults.scenarios.playing import Play, Scenario
from wire import frames, messages, topology

_RATE = 60.0
_POISON = 30
_GOOD = 10
_ATTEMPTS = 3
_GOOD_WITHIN_S = 30.0
_ALL_WITHIN_S = 180.0


def answers_thrice(play: Play) -> None:
    """F20: predictors and the trainer send every answer three times; callers see one, and jobs make one version."""
    stage, account = play.stage, Account(play.stage)
    switch = stage.points / woven.THRICE
    switch.touch()
    try:
        with Load(stage.url, _RATE) as load, Client(stage.url) as client:
            for number in range(play.trials):
                client.finished(account.submit(real=number % 5 == 0).result(), 60)
        outcome = account.settle()
        repeated = Counter(switch.read_text().split())
    finally:
        switch.unlink()
    play.judge(load)
    play.round.defects += outcome.defects()
    play.round.count("jobs", len(account.accepted), len(outcome.duplicated) + len(outcome.lost))
    predicted, trained = repeated[frames.REPLY_TYPE], repeated[messages.TrainDone.TYPE]
    play.round.figures["repeated_answers"] = predicted + trained
    # Several predictions may share an answer.
    if trained < len(account.accepted) or predicted < load.sent / 4:
        play.defect(f"of {load.sent} predictions and {len(account.accepted)} jobs were repeated: {dict(repeated)}")


def poison_first(play: Play) -> None:
    """F21: trainings whose process ends each time stand before good ones; three attempts, a dead letter, no more."""
    stage, account = play.stage, Account(play.stage)
    stage.ctl("purge_queue", "-p", "warren", topology.DEAD)
    pids = {name: stage.pid(name) for name in ("trainer", "worker")}
    with Client(stage.url) as client:
        alone_s = max(_waits(client, [account.submit()]))
        for _ in range(play.trials):
            began = time.monotonic()
            model = f"{quick_child.POISON}{account.label}"
            bad = [client.train(model=model, **QUICK) for _ in range(_POISON)]
            waits = _waits(client, [account.submit() for _ in range(_GOOD)])
            jobs = [client.finished(job_id, _ALL_WITHIN_S) for job_id in bad]
            _judge(play, jobs, waits)
            attempt_s = (time.monotonic() - began) / (_POISON * _ATTEMPTS)
            for name, value in (("good_alone_s", alone_s), ("good_slowest_s", max(waits)), ("attempt_s", attempt_s)):
                play.round.figures[name] = max(play.round.figures.get(name, 0), round(value, 2))
    if stage.volume.versions(model):
        play.defect(f"a poisonous training made versions {stage.volume.versions(model)}")
    play.round.defects += account.settle(dead_letters=play.trials * _POISON).defects()
    play.round.defects += [f"{name} was ended" for name, pid in pids.items() if stage.pid(name) != pid]
    stage.ctl("purge_queue", "-p", "warren", topology.DEAD)


def _judge(play: Play, jobs: list[Json], waits: list[float]) -> None:
    ends = [(job["status"], job["attempts"], (job.get("error") or {}).get("code")) for job in jobs]
    other = [end for end in ends if end != ("failed", _ATTEMPTS, "internal_error")]
    play.round.defects += [f"poison ended as {end}" for end in other[:5]]
    play.round.count("poisonous jobs", len(jobs), len(other))
    play.round.count("good jobs behind them", len(waits))
    if max(waits) > _GOOD_WITHIN_S:
        play.slow(f"a good job ended {max(waits):.0f} s after it was asked for")


def _waits(client: Client, asked: list[Future[str]]) -> list[float]:
    """The seconds until each of the jobs has ended, from now on."""
    began = time.monotonic()
    open_jobs = {job.result() for job in asked}
    taken: list[float] = []
    while open_jobs and time.monotonic() - began < _ALL_WITHIN_S:
        ended = {one for one in open_jobs if client.job(one)["status"] in ENDED}
        taken += [time.monotonic() - began] * len(ended)
        open_jobs -= ended
        time.sleep(0.05)
    return taken + [_ALL_WITHIN_S] * len(open_jobs)


SCENARIOS = (
    Scenario(
        "F20",
        "An answer that comes three times is taken once",
        "0 crossed answers; 1 version per job",
        answers_thrice,
        faults=(1, 6),
        chaos=(1, 100),
    ),
    Scenario(
        "F21",
        "Poison is contained: thirty trainings that end their process stand before good ones",
        "3 attempts and 1 dead letter each; good ones <= 30 s; the trainer lives",
        poison_first,
        faults=(1, 1),
        chaos=(1, 5),
        stage="three attempts",
    ),
)
