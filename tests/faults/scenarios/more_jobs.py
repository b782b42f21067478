"""F13, F33, F34: a trainer freezes and another goes on; jobs are cancelled at any moment; models are used at once."""

from __future__ import annotations

import time

import httpx

from tests.acceptance.stack import ENDED, Client
from tests.faults.account import Account
from tests.faults.scenarios.playing import Play, Scenario
from tests.faults.stage import Stage
from tests.rabbit import wait_until

_FROZEN_AT = (
    "trainer.mid_write",
    "trainer.after_fsync_before_rename",
    "trainer.after_rename_before_dirsync",
    "trainer.after_publish_before_promotion",
    "trainer.after_promotion_before_reply",
    "trainer.mid_fit",
    "trainer.after_receive",
)


def freeze_trainer(play: Play) -> None:
    """F13: a trainer stops in the middle of a job, the other one does it, the first one wakes up; one version."""
    stage, account = play.stage, Account(play.stage)
    for trial in range(play.trials):
        point = _FROZEN_AT[trial % len(_FROZEN_AT)]
        stage.arm(point, "freeze")
        try:
            # A quick child says all its steps at once, and only the newest is listened to: that one is past the fit.
            jobs = [account.submit(real=point == "trainer.mid_fit").result() for _ in range(3)]
            wait_until(lambda p=point: stage.fired(p), f"{point} is reached", 45)
            with Client(stage.url) as client:
                began = time.monotonic()
                for job_id in jobs:
                    client.finished(job_id, 90)
                slowest = time.monotonic() - began
        finally:
            stage.disarm(point)
            if stage.fired(point):
                stage.thaw([stage.who_fired(point)])
        play.round.figures["job_ended_s"] = max(play.round.figures.get("job_ended_s", 0), round(slowest, 1))
        stage.wait_ready("trainer", "trainer-2")
    outcome = account.settle()
    play.round.defects += outcome.defects()
    play.round.count("freezes", play.trials)
    play.round.count("jobs", len(account.accepted), len(outcome.duplicated) + len(outcome.lost))


def cancel_anywhere(play: Play) -> None:
    """F33: each job is cancelled at a random moment; it has one end, and no version when that is ``cancelled``."""
    stage, account = play.stage, Account(play.stage)
    ends: dict[str, set[str]] = {}
    # Three of four quick jobs that are given so long have ended when they are cancelled, on any machine.
    long_s = min(max(0.6, 4 * _seconds_to_end(stage, account)), 10.0)
    with httpx.Client(base_url=stage.url, timeout=10, trust_env=False) as client:
        for trial in range(play.trials):
            job_id = account.submit(real=trial % 10 in (0, 9)).result()
            # A quick job is over within a twentieth of a second on an idle machine, and takes seconds on a busy
            # one; a real fit takes longer than it takes to say that it is unwanted.
            if trial % 10:
                play.pause(2.5 if trial % 10 == 9 else 0.03 if trial % 2 else long_s)
            answer = client.post(f"/jobs/{job_id}/cancel")
            if answer.status_code not in (200, 202, 409):
                play.defect(f"cancel: {answer.status_code} {answer.text[:100]}")
            ends[job_id] = set()
        end = time.monotonic() + 60
        while time.monotonic() < end and not all(ends.values()):
            for job_id, seen in ends.items():
                status = client.get(f"/jobs/{job_id}").json()["status"]
                seen |= {status} & {*ENDED}
        for job_id, seen in ends.items():
            seen.add(client.get(f"/jobs/{job_id}").json()["status"])
    outcome = account.settle()
    play.round.defects += outcome.defects()
    several = [f"{job_id} ended as {sorted(seen)}" for job_id, seen in ends.items() if len(seen) != 1]
    play.round.defects += several[:5]
    play.round.count("cancels", play.trials, len(several) + len(outcome.unexpected))
    cancelled = sum(seen == {"cancelled"} for seen in ends.values())
    play.round.figures["cancelled"] = cancelled
    if play.trials >= 20 and not 0 < cancelled < play.trials:
        play.defect(f"{cancelled} of {play.trials} were cancelled: the moments do not meet both ends")


def _seconds_to_end(stage: Stage, account: Account) -> float:
    """How long a quick job takes here from its 202 to its end."""
    job_id = account.submit().result()
    began = time.monotonic()
    with Client(stage.url) as client:
        client.finished(job_id, 90)
    return time.monotonic() - began


def use_at_once(play: Play) -> None:
    """F34: the moment a job says ``succeeded``, its version answers, asked four times: twice by number, twice by name.

    Which predictor answers is left to the broker; `tests/integration/trainer/test_warming.py` looks at each.
    """
    stage, account = play.stage, Account(play.stage)
    slowest_s, missed = 0.0, set[str]()
    with httpx.Client(base_url=stage.url, timeout=30, trust_env=False) as client:
        for _ in range(play.trials):
            job_id = account.submit().result()
            wait_until(lambda j=job_id: client.get(f"/jobs/{j}").json()["status"] in ENDED, f"{job_id} ends", 60)
            job = client.get(f"/jobs/{job_id}").json()
            asked = {"model": job["model"], "instances": [[1.0, 2.0]]}
            for version in ({"version": job["result"]["version"]}, {}) * 2:
                began = time.monotonic()
                answer = client.post("/predict", json={**asked, **version})
                slowest_s = max(slowest_s, time.monotonic() - began)
                told = answer.json()
                if answer.status_code != 200 or told["version"] != job["result"]["version"]:
                    missed.add(job_id)
                    play.defect(f"version {job['result']['version']} at once: {answer.status_code} {told}")
    play.round.defects += account.settle().defects()
    play.round.count("new versions asked for", play.trials, len(missed))
    play.round.figures["slowest_s"] = round(slowest_s, 3)
    if slowest_s > 1.0:
        play.slow(f"a new version answered after {slowest_s:.2f} s")


SCENARIOS = (
    Scenario(
        "F13",
        "A frozen trainer that wakes up changes nothing",
        "1 version per job",
        freeze_trainer,
        faults=(1, 1),
        chaos=(3, 14),
        stage="two trainers",
    ),
    Scenario(
        "F33",
        "A cancelled job has one end, and no version",
        "exactly one end, N = 200",
        cancel_anywhere,
        faults=(1, 20),
        chaos=(4, 50),
    ),
    Scenario(
        "F34",
        "A model can be used as soon as its job has ended",
        "500 of 500 within 1 s",
        use_at_once,
        faults=(1, 10),
        chaos=(5, 100),
    ),
)
