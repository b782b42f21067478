"""F05, F06, F07, F27: replicas are killed one at a time and together, and every service is restarted under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from deploy.native import strays
from tests.faults import oracle
from tests.faults.account import Account, submit_until
from tests.faults.load import Load
from tests.faults.points import POINTS
from tests.faults.scenarios.playing import Play, Scenario
from tests.faults.sender import GIVE_UP_S, Record
from tests.faults.stage import PROCESSES
from tests.rabbit import wait_until

_RATE = 150.0
_REPLICAS = ("api-1", "api-2")
_ROLL_RATE = 200.0
_BASELINE_S = 20.0
_SETTING = "WARREN_PROCESS__DRAIN_S"
_POINTS = [name for name in POINTS if name.startswith("api.after_predict") or name == "api.after_reply_before_response"]


def kill_replicas(play: Play) -> None:
    """F05: a replica dies under load, in one of five ways; the other one answers for it."""
    stage = play.stage
    ways = ["all of it", "the worker", "the master", *_POINTS]
    with Load(stage.url, _RATE) as load:
        for trial in range(play.trials):
            victim = f"api-{1 + trial % 2}"
            way = ways[trial % len(ways)]
            play.pause(0.3)
            began = time.monotonic()
            if way in POINTS:
                stage.arm(way)
                wait_until(lambda name=way: stage.fired(name), f"{way} is reached")
            else:
                _kill(play, victim, way)
            stage.wait_ready(*_REPLICAS)
            play.round.figures["back_s"] = max(play.round.figures.get("back_s", 0), round(time.monotonic() - began, 1))
    play.round.count("kills", play.trials)
    play.judge(load)


def _kill(play: Play, victim: str, way: str) -> None:
    """End a replica, or one of its two processes; returns when the other one has ended too, if it does.

    A worker outlives its master for a moment and says that it is ready. The next trial would end the other
    replica in that moment, and nobody promises anything when both are gone.
    """
    stage = play.stage
    pids, main = stage.pids(victim), stage.pid(victim)
    if way == "the worker":
        stage.kill_pids([pid for pid in pids if pid != main])
    else:
        stage.kill_pids([main] if way == "the master" else pids)
        wait_until(lambda: not any(map(strays.alive, pids)), "the worker has ended with its master")
        stage.wait_back(victim, killed=main)


def bounce_both(play: Play) -> None:
    """F07: no replica is left for a moment; the first answer comes within a second of readiness."""
    stage = play.stage
    slowest_s = 0.0
    for _ in range(play.trials):
        play.pause(0.2)
        for name in _REPLICAS:
            stage.kill(name)
        with httpx.Client(base_url=stage.url, timeout=5, trust_env=False) as client:
            wait_until(lambda client=client: not _answered(client, 0), "nobody answers", 5)
            wait_until(lambda: any(map(stage.ready, stage.replicas)), "a replica is ready", 30)
            began = time.monotonic()
            wait_until(lambda client=client: _answered(client, 1), "a prediction is answered", 15)
            slowest_s = max(slowest_s, time.monotonic() - began)
        stage.wait_ready(*_REPLICAS, timeout_s=30)
    slow = slowest_s > 1.0
    play.round.count("double restarts", play.trials, int(slow))
    play.round.figures["first_200_s"] = round(slowest_s, 3)
    if slow:
        play.slow(f"the first answer took {slowest_s:.2f} s after a replica was ready")


def _answered(client: httpx.Client, x: int) -> bool:
    content = {"content": oracle.body(x), "headers": {"Content-Type": "application/json"}}
    try:
        return client.post("/predict", **content).status_code == 200
    except httpx.HTTPError:
        return False


def roll_everything(play: Play) -> None:
    """F27: ``make up`` with a changed setting replaces every service, under load and with jobs on their way."""
    stage = play.stage
    account = Account(stage)
    rate = _ROLL_RATE if play.full else _RATE
    with _jobs(account), Load(stage.url, rate, resends=True) as before:
        time.sleep(play.lasting(_BASELINE_S, 8))
    with Load(stage.url, rate, resends=True) as load:
        for _ in range(play.trials):
            pids = {name: stage.pid(name) for name in PROCESSES}
            with _jobs(account):
                # A changed setting of every process: what `make up` does with new code.
                drained = stage.environment.get(_SETTING)
                stage.environment[_SETTING] = "18" if drained == "19" else "19"
                stage.up()
                stage.reload_nginx()
            same = [name for name in PROCESSES if stage.pid(name) == pids[name]]
            if same:
                play.defect(f"not replaced: {same}")
    play.round.count("rolls", play.trials)
    play.round.figures["resent"] = load.resent
    play.judge(load)
    play.compare(load, before, 2)
    play.round.count("jobs", len(account.accepted))
    play.round.defects += account.settle().defects()


@contextmanager
def _jobs(account: Account) -> Iterator[None]:
    """Trainings are asked for while the block lasts."""
    over = threading.Event()
    submitting = threading.Thread(target=submit_until, args=(account, over), daemon=True)
    submitting.start()
    yield
    over.set()
    submitting.join(70)


def hurt_nginx(play: Play) -> None:
    """F06: Nginx is reloaded, which nobody notices, and its workers are killed, which ends only what they hold."""
    stage = play.stage
    with Load(stage.url, _RATE, resends=True) as reloaded:
        for _ in range(play.trials):
            play.pause(0.5)
            stage.reload_nginx()
    play.judge(reloaded)
    play.round.figures["resent"] = reloaded.resent
    kills: list[tuple[float, float]] = []
    with Load(stage.url, _RATE) as killed:
        for _ in range(play.trials):
            play.pause(1.0)
            main = stage.pid("nginx")
            old = {*stage.pids("nginx")}
            began = time.monotonic()
            stage.kill_pids([pid for pid in old if pid != main])
            wait_until(lambda old=old: {*stage.pids("nginx")} - old, "Nginx has new workers", 10)
            kills.append((began, time.monotonic()))
            time.sleep(1.2)
    late = [one for one in killed.failed if not any(_cut_off(one, began, over) for began, over in kills)]
    play.round.count("reloads", play.trials)
    play.round.count("worker kills", play.trials, len(late))
    play.round.figures["cut_off_per_kill"] = round(len(killed.failed) / play.trials, 1)
    play.round.defects += [f"more than a second after a kill: {one.status} {one.problem[:120]}" for one in late[:3]]
    if killed.wrong:
        play.defect(f"wrong: {killed.wrong[0].problem}")


def _cut_off(one: Record, began: float, over: float) -> bool:
    """Whether a request was under way while workers died, or due within a second of it.

    When it failed is no measure: its sender may have been late to notice.
    """
    return began <= one.due + one.seconds and one.due <= over + 1 and one.seconds < GIVE_UP_S


SCENARIOS = (
    Scenario(
        "F05",
        "A replica's death fails no prediction",
        "0 of 20,000 over 50 kills",
        kill_replicas,
        faults=(1, 6),
        chaos=(3, 40),
    ),
    Scenario(
        "F06",
        "Nginx's reload fails nothing, its workers' death only what they hold",
        "0 failed in reloads; <= 1 s after a kill",
        hurt_nginx,
        faults=(1, 3),
        chaos=(1, 20),
    ),
    Scenario("F07", "Both replicas bounce: back at once", "<= 1 s", bounce_both, faults=(1, 2), chaos=(1, 20)),
    Scenario(
        "F27",
        "A deployment fails no request and loses no job",
        "0 of 50,000 over 5 rolls; p99 <= 2 x",
        roll_everything,
        faults=(1, 1),
        chaos=(9, 3),
    ),
)
