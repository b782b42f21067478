"""F35: the four parts start in each of their 24 orders; it comes together by itself."""

from __future__ import annotations

import itertools
import time

import httpx

from deploy.native.supervision import Supervisor
from tests.faults.scenarios.playing import Play, Scenario
from tests.rabbit import wait_until

_PARTS = (("broker",), ("api-1", "api-2"), ("worker", "trainer"), ("predictor-1", "predictor-2"))
_OURS = tuple(name for part in _PARTS for name in part if name != "broker")
ORDERS = tuple(itertools.permutations(_PARTS))
"""Every order; a round plays the next few of them."""
_READY_IN_S = 15.0
_GAP_S = 2.0


def any_order(play: Play) -> None:
    """Stop all, start the four parts in one order after another; alive at once, ready soon after the last."""
    stage = play.stage
    supervisor = Supervisor(stage.layout)
    groups = {one.name: f"{one.group}:{one.name}" for one in supervisor.processes()}
    for order in orders_of(play.number, play.trials):
        for name in (name for part in _PARTS for name in part):
            supervisor._call("stopProcess", groups[name], timeout_s=60)
        for part in order:
            for name in part:
                supervisor._call("startProcess", groups[name], False)
            time.sleep(_GAP_S)
            _early(play, order.index(part) < len(order) - 1)
        began = time.monotonic()
        wait_until(lambda: all(map(stage.ready_itself, _OURS)) and stage.ready(), f"ready after {order}", 60)
        taken_s = time.monotonic() - began
        play.round.figures["ready_s"] = max(play.round.figures.get("ready_s", 0), round(taken_s, 1))
        if taken_s > _READY_IN_S:
            play.slow(f"ready {taken_s:.0f} s after the last of {order}")
    play.round.count("orders", play.trials)


def orders_of(number: int, trials: int) -> list[tuple[tuple[str, ...], ...]]:
    """The orders of a round: each comes once before any comes again."""
    return [ORDERS[one % len(ORDERS)] for one in range(number * trials, (number + 1) * trials)]


def _early(play: Play, incomplete: bool) -> None:
    """While something is missing nothing claims to be ready; a replica that runs says that it lives."""
    if not incomplete:
        return
    if play.stage.ready():
        play.defect("ready before everything was started")
    for url in play.stage.replicas:
        try:
            status = httpx.get(f"{url}/livez", timeout=5, trust_env=False).status_code
        except httpx.HTTPError:
            continue  # not started yet
        if status != 200:
            play.defect(f"a running replica is not alive: {status}")


SCENARIOS = (
    Scenario(
        "F35",
        "Processes may start in any order",
        "ready <= 15 s after the last one",
        any_order,
        faults=None,
        chaos=(2, 12),
        stage="plain",
    ),
)
