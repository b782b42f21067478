"""F26: the wall clock of our processes jumps by an hour and by a day, forwards and back, with jobs on their way."""

from __future__ import annotations

import time

from tests.acceptance.stack import Client
from tests.faults.account import Account
from tests.faults.load import Load
from tests.faults.scenarios.playing import Play, Scenario

_RATE = 60.0
_JUMPS_S = (3600, 0, -3600, 0, 86_400, 0, -86_400, 0)


def jump(play: Play) -> None:
    """Nothing but the times that are shown may follow the clock: no lease, no deadline, no version."""
    stage, account = play.stage, Account(play.stage)
    jobs = []
    with Load(stage.url, _RATE) as load, Client(stage.url) as client:
        for trial in range(play.trials):
            jobs += [account.submit(real=True).result(), *(account.submit().result() for _ in range(3))]
            play.pause(1.5)
            stage.clock.write_text(f"{_JUMPS_S[trial % len(_JUMPS_S)]:+d}")
            time.sleep(2)
            jobs += [account.submit().result() for _ in range(2)]
            play.pause(2.0)
        ended = [client.finished(job_id, 90) for job_id in jobs]
    stage.clock.write_text("+0")
    again = [job["job_id"] for job in ended if job["attempts"] != 1]
    if again:
        play.defect(f"{len(again)} of {len(ended)} jobs needed more than one attempt: leases followed the clock")
    play.judge(load)
    play.round.defects += account.settle().defects()
    play.round.count("jumps", play.trials)
    play.round.count("jobs", len(jobs), len(again))


SCENARIOS = (
    Scenario(
        "F26",
        "A clock that jumps expires nothing",
        "0 expiries, 0 stuck",
        jump,
        faults=None,
        chaos=(2, 16),
        stage="jumping clock",
    ),
)
