"""F04, F11, F12: predictors are killed and frozen under load."""

from __future__ import annotations

import time

from tests.faults.load import DEADLINE_S, Load
from tests.faults.points import POINTS
from tests.faults.scenarios.playing import Play, Scenario
from tests.rabbit import wait_until

_RATE = 150.0
_BASELINE_S = 8.0
_NAMES = ("predictor-1", "predictor-2")
_REPLICAS = ("api-1", "api-2")
_SHARE = 0.1
"""Of the batches of a replica, so many may be sent twice (predict.hedge_share)."""
_SAVED_UP = 5
"""Second copies for which a replica may have saved up before."""
_POINTS = ("predictor.after_receive", "predictor.mid_predict", "predictor.after_reply_before_ack")


def kill_predictors(play: Play) -> None:
    """F04: a predictor dies with work in its hands, sometimes again while it loads; the other one answers."""
    stage = play.stage
    ways = ["random", *_POINTS, "predictor.mid_load"]
    with Load(stage.url, _RATE) as before:
        time.sleep(_BASELINE_S)
    with Load(stage.url, _RATE) as load:
        for trial in range(play.trials):
            victim, way = _NAMES[trial % 2], ways[trial % len(ways)]
            play.pause(0.3)
            if way in POINTS:
                # The other one may still have a version to load, and nobody promises anything when both are gone.
                other = stage.pid(_NAMES[1 - trial % 2]) if way == "predictor.mid_load" else 0
                stage.arm(way, spare=other)
            if way in ("random", "predictor.mid_load"):
                killed = stage.pid(victim)
                stage.kill(victim)
                wait_until(lambda v=victim, k=killed: stage.pid(v) != k, f"{victim} is started again")
            if way in POINTS:
                wait_until(lambda w=way: stage.fired(w), f"{way} is reached", 30)
            stage.wait_ready(*_NAMES)
    play.round.count("kills", play.trials)
    play.judge(load)
    play.compare(load, before, 3)


def freeze_one(play: Play) -> None:
    """F11: a predictor stops for seconds with batches in its hands; a second copy of each hides it.

    After two heartbeats the broker gives up on it, and gives its batches to the other one.
    """
    stage = play.stage
    # Without second copies what it holds would be answered only once it goes on: the deadline has to pass before.
    seconds, deadline_s = play.lasting(30, 8), play.lasting(DEADLINE_S, 5)
    with Load(stage.url, _RATE, deadline_s=deadline_s) as load:
        time.sleep(2)
        hedged = batches = 0.0
        for trial in range(play.trials):
            before = _sent(play)
            frozen = stage.freeze(_NAMES[trial % 2])
            time.sleep(seconds)
            stage.thaw(frozen)
            after = _sent(play)
            hedged, batches = hedged + after[0] - before[0], batches + after[1] - before[1]
            time.sleep(2 + play.rng.uniform(0, 1))
    play.round.count("freezes", play.trials)
    play.judge(load)
    if not batches:
        play.defect("no batch was counted")
    play.round.figures["hedged_share"] = round(hedged / max(1.0, batches), 4)
    if hedged > _SHARE * batches + len(_REPLICAS) * _SAVED_UP * play.trials:
        play.defect(f"{hedged:.0f} of {batches:.0f} batches were sent twice")


def _sent(play: Play) -> tuple[float, float]:
    """Second copies and batches sent so far, over both replicas."""
    names = ("warren_predict_hedges_total", "warren_predict_batch_requests_count")
    hedged, batches = (sum(play.stage.metric(replica, name) for replica in _REPLICAS) for name in names)
    return hedged, batches


def freeze_both(play: Play) -> None:
    """F12: nobody predicts for seconds; every answer is in time, and the first right one soon after."""
    stage = play.stage
    slowest_s = 0.0
    loads = []
    for _ in range(play.trials):
        with Load(stage.url, 50.0, deadline_s=DEADLINE_S) as load:
            time.sleep(1)
            frozen = [pid for name in _NAMES for pid in stage.freeze(name)]
            time.sleep(play.lasting(10, 6))
            stage.thaw(frozen)
            thawed_at = time.monotonic()
            time.sleep(4)
        loads.append(load)
        right = [one.due + one.seconds for one in load.records if not one.problem and one.due + one.seconds > thawed_at]
        slowest_s = max(slowest_s, min(right, default=float("inf")) - thawed_at)
    for load in loads:
        refused = [one for one in load.failed if one.status not in (503, 504, 429)]
        play.round.count("predictions", load.sent, len(refused))
        play.round.defects += [f"{one.status}: {one.problem}" for one in refused[:5]]
        if load.late:
            play.slow(f"{len(load.late)} answers later than the deadline + 0.2 s: {load.longest_s():.2f} s")
        play.round.figures["longest_ms"] = max(play.round.figures.get("longest_ms", 0), round(load.longest_s() * 1000))
    play.round.count("freezes", play.trials)
    play.round.figures["first_200_s"] = round(slowest_s, 2)
    if slowest_s > 2.0:
        play.slow(f"the first answer came {slowest_s:.1f} s after the predictors went on")


SCENARIOS = (
    Scenario(
        "F04",
        "A predictor's death fails no prediction",
        "0 of 20,000 over 100 kills; p99 <= 3 x",
        kill_predictors,
        faults=(1, 4),
        chaos=(5, 20),
    ),
    Scenario(
        "F11",
        "A frozen predictor is hidden",
        "0 failed, hedges <= 10 %",
        freeze_one,
        faults=(1, 1),
        chaos=(2, 10),
    ),
    Scenario(
        "F12",
        "Without any predictor every answer is in time",
        "<= deadline + 0.2 s; back in 2 s",
        freeze_both,
        faults=(1, 1),
        chaos=(1, 10),
    ),
)
