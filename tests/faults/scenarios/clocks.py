"""F26: the wall clock of our processes jumps by an hour and by a day, forwards and back, with jobs on their way."""

from __future__ import annotations

import time
from datetime import datetime

from tests.acceptance.stack import Client, Json
from tests.faults.account import Account
from tests.faults.load import Load
from tests.faults.scenarios.playing import Play, Scenario

_RATE = 60.0
_SAME_S = 60.0
"""Two readings of a clock that are further apart are of different clocks."""
_JUMPS_S = (3600, 0, -3600, 0, 86_400, 0, -86_400, 0)


def jump(play: Play) -> None:
    """Nothing but the times that are shown may follow the clock: no lease, no deadline, no version."""
    stage, account = play.stage, Account(play.stage)
    jobs: list[str] = []
    shown_at: dict[str, float] = {}
    with Load(stage.url, _RATE) as load, Client(stage.url) as client:
        for trial in range(play.trials):
            jobs += [account.submit(real=True).result(), *(account.submit().result() for _ in range(3))]
            play.pause(1.5)
            wrong_s = _JUMPS_S[trial % len(_JUMPS_S)]
            stage.clock.write_text(f"{wrong_s:+d}")
            time.sleep(2)
            after = [account.submit().result() for _ in range(2)]
            shown_at |= dict.fromkeys(after, time.time() + wrong_s)
            jobs += after
            play.pause(2.0)
        ended = [client.finished(job_id, 90) for job_id in jobs]
    stage.clock.write_text("+0")
    unmoved = [job for job in ended if abs(_created(job) - shown_at.get(job["job_id"], _created(job))) > _SAME_S]
    if unmoved:
        play.defect(f"{len(unmoved)} jobs were accepted by a clock that had not jumped")
    again = [job["job_id"] for job in ended if job["attempts"] != 1]
    if again:
        play.defect(f"{len(again)} of {len(ended)} jobs needed more than one attempt: leases followed the clock")
    play.judge(load)
    play.round.defects += account.settle().defects()
    play.round.count("jumps", play.trials)
    play.round.count("jobs", len(jobs), len(again))


def _created(job: Json) -> float:
    return datetime.fromisoformat(job["created_at"]).timestamp()


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
