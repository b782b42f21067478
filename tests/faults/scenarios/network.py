"""F14, F15: the line between one kind of process and the broker, or the volume, is cut, half open, reset, or slow."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import get_args

from tests.acceptance.stack import Client
from tests.faults import mounts
from tests.faults.account import Account
from tests.faults.load import Load
from tests.faults.proxy import Mode
from tests.faults.scenarios.playing import Play, Scenario
from tests.rabbit import wait_until
from wire import topology

_RATE = 60.0
_HEARTBEAT_S = 10
_CUT_S = 25.0
"""Longer than the two heartbeats after which both ends give a silent line up."""
_LOST = 0.02
_NORMAL_IN_S = 2 * _HEARTBEAT_S + 5
_WAYS: tuple[Mode, ...] = ("drop", "half-open", "refuse")


def partition(play: Play) -> None:
    """F14: one role at a time is cut off; nothing is late, and all is as before soon after the line is whole."""
    stage, account = play.stage, Account(play.stage)
    roles = get_args(topology.Role)
    for trial in range(play.trials):
        role, way = roles[trial % len(roles)], _WAYS[trial // len(roles) % len(_WAYS)]
        proxy = stage.proxies[role]
        with Load(stage.url, _RATE) as load:
            for _ in range(3):
                account.submit()
            time.sleep(1)
            proxy.set(way)
            if way == "refuse":
                proxy.reset()
            for _ in range(3):
                account.submit()
            time.sleep(play.lasting(_CUT_S, 12))
            proxy.set("pass")
            whole_at = time.monotonic()
            wait_until(lambda load=load, at=whole_at: _quiet(load, at), "two seconds without a refusal", 60)
            normal_s = time.monotonic() - whole_at - 2
        _judge(play, load, f"{role} {way}")
        play.round.figures["normal_s"] = max(play.round.figures.get("normal_s", 0), round(normal_s, 1))
        if normal_s > _NORMAL_IN_S:
            play.slow(f"{role} {way}: normal {normal_s:.0f} s after the line was whole")
    outcome = account.settle(180)
    play.round.defects += outcome.defects()
    play.round.count("cuts", play.trials)
    play.round.count("jobs", len(account.accepted), len(outcome.lost) + len(outcome.duplicated) + len(outcome.stuck))


def _quiet(load: Load, since: float) -> bool:
    now = time.monotonic()
    last = [one for one in load.records[-400:] if one.due > max(since, now - 2.2)]
    return now - since > 2.2 and len(last) > _RATE and not any(one.problem for one in last)


def _judge(play: Play, load: Load, what: str) -> None:
    bad = [one for one in load.failed if one.status not in (429, 503, 504)]
    play.round.count("predictions", load.sent, len(bad))
    play.round.defects += [f"{what}: {one.status or 'no answer'} {one.problem[:120]}" for one in bad[:3]]
    if load.late:
        play.slow(f"{what}: {len(load.late)} answers later than the deadline + 0.2 s: {load.longest_s():.2f} s")


def volume_cut(play: Play) -> None:
    """F14: whatever the trainer writes to the volume waits; predictions go on, and so do jobs once it is back."""
    stage, account, folder = play.stage, Account(play.stage), play.stage.layout.models
    with Load(stage.url, _RATE) as load, Client(stage.url) as client:
        for _ in range(play.trials):
            jobs = [account.submit(real=number == 0) for number in range(3)]
            play.pause(1.5)
            mounts.suspend(folder)
            try:
                jobs += [account.submit() for _ in range(3)]
                time.sleep(play.lasting(_CUT_S, 12))
            finally:
                mounts.resume(folder)
            back_at = time.monotonic()
            for job in jobs:
                client.finished(job.result(), 90)
            normal_s = time.monotonic() - back_at
            play.round.figures["normal_s"] = max(play.round.figures.get("normal_s", 0), round(normal_s, 1))
            if normal_s > _NORMAL_IN_S:
                play.slow(f"the last job ended {normal_s:.0f} s after the volume was back")
    play.judge(load)
    outcome = account.settle()
    play.round.defects += outcome.defects()
    play.round.count("cuts", play.trials)
    play.round.count("jobs", len(account.accepted), len(outcome.lost) + len(outcome.duplicated) + len(outcome.stuck))


def slow_line(play: Play) -> None:
    """F15: 200 ms, half more or less, and lost packets between the replicas and the broker: slower, and right."""
    stage, account = play.stage, Account(play.stage)
    proxy = stage.proxies["api"]
    for _ in range(play.trials):
        proxy.delay_s = 0.2
        before = proxy.connections
        with _lossy(play, proxy.port), Load(stage.url, _RATE) as load:
            for _ in range(3):
                account.submit()
            time.sleep(15)
        proxy.delay_s = 0.0
        failed = len(load.failed)
        play.round.count("predictions", load.sent, failed)
        play.round.count("slow lines", 1)
        play.round.defects += [f"wrong: {one.problem}" for one in load.wrong[:3]]
        if failed > 0.01 * load.sent:
            play.defect(f"{failed} of {load.sent} failed: {load.defects()[:3]}")
        play.round.figures["reconnects"] = max(play.round.figures.get("reconnects", 0), proxy.connections - before)
        if proxy.connections - before > 8:
            play.defect(f"{proxy.connections - before} new connections in 15 s")
    play.round.defects += account.settle().defects()


@contextmanager
def _lossy(play: Play, port: int) -> Iterator[None]:
    """Drop one in fifty of the packets to and from a port of this machine; the kernel sends them again."""
    with ExitStack() as undo:
        for side in ("--dport", "--sport"):
            rule = f"INPUT -i lo -p tcp {side} {port} -m statistic --mode random --probability {_LOST} -j DROP"
            _iptables(f"-I {rule}")
            undo.callback(_iptables, f"-D {rule}")
        yield
        counted = [line.split() for line in _iptables("-nvxL INPUT").splitlines() if f"pt:{port}" in line]
        lost = sum(int(line[0]) for line in counted)
        play.round.count("lost packets", lost)
        if not lost:
            play.defect("no packet was lost")


def _iptables(arguments: str) -> str:
    return subprocess.run(
        ["iptables", "-w", *arguments.split()], check=True, capture_output=True, text=True, timeout=10
    ).stdout


SCENARIOS = (
    Scenario(
        "F14",
        "Who is cut off from the broker refuses in time, and comes back by himself",
        "0 lost; normal <= 25 s",
        partition,
        faults=None,
        chaos=(1, 12),
        stage="proxied",
    ),
    Scenario(
        "F14 volume",
        "A trainer that is cut off from the volume goes on when it is back",
        "0 lost; 0 failed predictions; jobs end <= 25 s",
        volume_cut,
        faults=None,
        chaos=(1, 4),
        stage="own disk",
    ),
    Scenario(
        "F15",
        "A slow line makes answers slow, not wrong",
        "<= 1 % failed, 0 wrong",
        slow_line,
        faults=None,
        chaos=(1, 4),
        stage="proxied",
    ),
)
