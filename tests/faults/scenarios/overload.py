"""F29: three times as many predictions as can be computed, at a fixed rate; what is answered, refused, and when."""

from __future__ import annotations

import time

from tests.acceptance.stack import Client
from tests.faults import heavy_oracle
from tests.faults.account import Account
from tests.faults.load import LATE_S, Load
from tests.faults.scenarios.playing import Play, Scenario

_TREES = 600
"""Some 20 ms of a core for each request. Who sends has the same two cores: to send and refuse one took 0.8 ms of them,
which at half as many trees, with twice the requests, was a sixth of the machine (docs/reliability.md)."""
_FIRST_RATE = 20.0
_STEP = 1.4
_STEP_S = 8.0
_SETTLED_S = 3.0
_PEAK_SHARE = 0.9
_REFUSED_P99_S = 0.05
_BACK_S = 5.0


def train(client: Client) -> None:
    """A forest so large that a client in Python can ask for three times too much."""
    if client.http.get(f"/models/{heavy_oracle.MODEL}").status_code == 200:
        return
    rows = [{"x": n, "z": -n, "y": n} for n in range(heavy_oracle.KNOWN)]
    params = {"n_estimators": _TREES, "random_state": 1, "bootstrap": False}
    client.trained(
        model=heavy_oracle.MODEL, dataset={"rows": rows}, target="y", estimator="RandomForestRegressor", params=params
    )


def overload(play: Play) -> None:
    """Find the peak, ask for three times that for ``trials`` seconds, then for half of it again."""
    stage, account = play.stage, Account(play.stage)
    with Client(stage.url) as client:
        train(client)
    peak = _peak(stage.url)
    account.submit(real=True)
    with Load(stage.url, 3 * peak, oracle=heavy_oracle) as load:
        time.sleep(play.trials)
        ended_at = time.monotonic()
    with Load(stage.url, peak / 2, oracle=heavy_oracle) as after:
        time.sleep(_BACK_S + 3)
    refused = sorted(one.seconds for one in load.failed if one.status in (429, 503))
    other = [one for one in load.failed if one.status not in (429, 503)]
    goodput = _sustained(load, play.trials)
    p99_s = refused[int(0.99 * len(refused))] if refused else 0.0
    play.round.count("requests at 3 x the peak", load.sent, len(other))
    play.round.figures |= {
        "peak_rps": round(peak, 1),
        "goodput_share": round(goodput / peak, 3),
        "refused_share": round(len(refused) / load.sent, 3),
        "refused_p99_ms": round(p99_s * 1000),
        "answered_longest_ms": round(max((one.seconds for one in load.records if not one.problem), default=0) * 1000),
    }
    _judge(play, load, after, goodput / peak, p99_s, ended_at)
    play.round.defects += account.settle().defects()


def _judge(play: Play, load: Load, after: Load, share: float, p99_s: float, ended_at: float) -> None:
    if share < _PEAK_SHARE:
        play.slow(f"goodput is {share:.0%} of the peak")
    if p99_s > _REFUSED_P99_S:
        play.slow(f"refusals take {p99_s * 1000:.0f} ms at p99")
    other = [one for one in load.failed if one.status not in (429, 503)]
    if len(other) > 0.01 * load.sent:
        told = {f"{one.status} {one.problem[:80]}" for one in other}
        play.defect(f"{len(other)} of {load.sent} were neither answered nor refused: {sorted(told)[:3]}")
    if any(one.seconds > LATE_S for one in load.records):
        play.slow(f"an answer came {load.longest_s():.1f} s after it was due")
    late = [one for one in after.failed if one.due > ended_at + _BACK_S]
    if late:
        play.defect(f"{len(late)} failures more than {_BACK_S} s after the overload: {late[0].problem[:100]}")


def _peak(url: str) -> float:
    """The most right answers a second at any fixed rate, looked for in steps."""
    best, rate = 0.0, _FIRST_RATE
    while True:
        with Load(url, rate, oracle=heavy_oracle) as load:
            time.sleep(_STEP_S)
        good = _sustained(load, _STEP_S)
        best = max(best, good)
        if good < 0.9 * rate:
            return best
        rate *= _STEP


def _sustained(load: Load, seconds: float) -> float:
    """Right answers a second, by when they came, without the first seconds and without what came after the end.

    A queue that fills takes in for two seconds more than can be computed, and is answered after the end: counted by
    when they were asked, a short look at too high a rate would show a peak that nobody could keep up.
    """
    began_at = min(one.due for one in load.records)
    came = [one.due + one.seconds - began_at for one in load.records if not one.problem]
    return sum(_SETTLED_S <= at <= seconds for at in came) / (seconds - _SETTLED_S)


SCENARIOS = (
    Scenario(
        "F29",
        "Three times too many requests leave nine tenths of the peak",
        ">= 90 % of peak; refused <= 50 ms at p99",
        overload,
        faults=None,
        chaos=(1, 60),
        stage="plain",
    ),
)
