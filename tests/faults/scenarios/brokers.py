"""F08, F09, F10, F30: the broker restarts, dies, freezes and is in alarm, under load and with jobs on their way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import httpx

from tests.acceptance.stack import Client
from tests.faults.account import QUICK, Account, submit_until
from tests.faults.load import DEADLINE_S, Load
from tests.faults.scenarios.playing import Play, Scenario
from tests.rabbit import wait_until

_RATE = 80.0
_REFUSED_IN_S = 1.0
"""Without a broker an answer takes a second at most."""
_BACK_IN_S = 10.0
_ALARM_BACK_IN_S = 5.0
_JOBS_BACK_IN_S = 20.0
_REFUSED_MODEL = "quick-refused"
_OUR_PIDS = ("api-1", "api-2", "worker", "trainer", "predictor-1", "predictor-2")


def restart_broker(play: Play) -> None:
    """F08: the broker's application is stopped and started, and its process killed, in turns."""
    for trial in range(play.trials):
        fault = _stopped if trial % 2 == 0 else _killed
        _broken(play, fault, late_refusals=True)


def freeze_broker(play: Play) -> None:
    """F09: the broker stops for seconds, shorter and longer than a heartbeat is waited for."""
    for trial in range(play.trials):
        seconds = play.lasting(60, 40) if trial % 3 == 2 else 15.0
        _broken(play, lambda stage_play, s=seconds: _frozen(stage_play, s), late_refusals=False)


@contextmanager
def _stopped(play: Play) -> Iterator[None]:
    play.stage.ctl("stop_app")
    time.sleep(2 + play.rng.uniform(0, 2))
    play.stage.ctl("start_app")
    yield


@contextmanager
def _killed(play: Play) -> Iterator[None]:
    before = play.stage.pid("broker")
    play.stage.kill("broker")
    play.stage.wait_back("broker", before)
    yield


@contextmanager
def _frozen(play: Play, seconds: float) -> Iterator[None]:
    pids = play.stage.freeze("broker")
    time.sleep(seconds)
    play.stage.thaw(pids)
    yield


def _broken(play: Play, fault: Callable[[Play], AbstractContextManager[None]], *, late_refusals: bool) -> None:
    """One fault of the broker with jobs queued, running and being published; what follows from it."""
    stage, account = play.stage, Account(play.stage)
    pids = {name: stage.pid(name) for name in _OUR_PIDS}
    connections = stage.connections()
    for _ in range(4):
        account.submit()
    over = threading.Event()
    submitting = threading.Thread(target=submit_until, args=(account, over), daemon=True)
    with Load(stage.url, _RATE, deadline_s=DEADLINE_S) as load:
        time.sleep(2)
        submitting.start()
        with fault(play):
            back_at = time.monotonic()
            wait_until(lambda: _right_since(load, back_at), "a prediction is answered", 60)
            first_s = time.monotonic() - back_at
        time.sleep(3)
        over.set()
        submitting.join(70)
    _judge(play, load, late_refusals=late_refusals)
    play.round.figures["first_200_s"] = max(play.round.figures.get("first_200_s", 0), round(first_s, 1))
    if first_s > _BACK_IN_S:
        play.slow(f"the first answer came {first_s:.1f} s after the broker was back")
    again = [name for name in _OUR_PIDS if stage.pid(name) != pids[name]]
    if again:
        play.defect(f"restarted though only the broker was hurt: {again}")
    outcome = account.settle()
    play.round.defects += outcome.defects()
    try:
        wait_until(lambda: stage.connections() == connections, "the broker has as many connections as before", 30)
    except AssertionError as error:
        play.defect(f"{error}: {dict(connections)}, now {dict(stage.connections())}")
    play.round.count("broker faults", 1)
    play.round.count("jobs", len(account.accepted), len(outcome.lost) + len(outcome.duplicated) + len(outcome.stuck))


def _right_since(load: Load, moment: float) -> bool:
    return any(not one.problem and one.due >= moment for one in load.records[-200:])


def _judge(play: Play, load: Load, *, late_refusals: bool) -> None:
    """Only refusals, and quick ones; a frozen broker cannot be told from a slow one, so there the deadline counts."""
    allowed = (429, 503) if late_refusals else (429, 503, 504)
    bad = [one for one in load.failed if one.status not in allowed]
    play.round.count("predictions", load.sent, len(bad))
    play.round.defects += [f"{one.status or 'no answer'}: {one.problem[:120]}" for one in bad[:5]]
    if load.without_when:
        play.defect(f"{load.without_when} refusals without Retry-After")
    if load.late:
        play.slow(f"{len(load.late)} answers later than the deadline + 0.2 s: {load.longest_s():.2f} s")
    refused = [one.seconds for one in load.failed if one.status == 503]
    slowest = max(refused, default=0.0)
    play.round.figures["slowest_503_s"] = max(play.round.figures.get("slowest_503_s", 0), round(slowest, 2))
    if late_refusals and slowest > _REFUSED_IN_S:
        play.slow(f"a 503 took {slowest:.2f} s")


def alarm(play: Play) -> None:
    """F10: memory and disk alarms; publishers are refused within a second, jobs wait, nothing is lost."""
    stage = play.stage
    for trial in range(play.trials):
        account = Account(stage)
        connections = stage.connections()
        raised, cleared = _ALARMS[trial % len(_ALARMS)]
        with Load(stage.url, _RATE, deadline_s=DEADLINE_S) as load:
            time.sleep(1)
            jobs = [job.result() for job in [account.submit(real=number < 2) for number in range(6)]]
            stage.ctl(*raised)
            time.sleep(1)
            refused_s = _train_is_refused(play)
            time.sleep(play.lasting(28, 6))
            # A broker in alarm keeps what its clients dropped: whoever connects again and again fills it.
            more = stage.connections() - connections
            stage.ctl(*cleared)
            cleared_at = time.monotonic()
            wait_until(lambda load=load, at=cleared_at: _right_since(load, at), "a prediction is answered", 30)
            first_s = time.monotonic() - cleared_at
            _end_after(play, jobs, cleared_at)
        _judge(play, load, late_refusals=True)
        if more:
            play.defect(f"connections more than before during the alarm: {dict(more)}")
        play.round.figures["train_503_s"] = max(play.round.figures.get("train_503_s", 0), round(refused_s, 2))
        play.round.figures["first_200_s"] = max(play.round.figures.get("first_200_s", 0), round(first_s, 1))
        if first_s > _ALARM_BACK_IN_S:
            play.slow(f"the first answer came {first_s:.1f} s after the alarm")
        play.round.defects += account.settle().defects()
        with Client(stage.url) as client:
            phantoms = client.call("GET", f"/jobs?model={_REFUSED_MODEL}", 200)["jobs"]
        if phantoms:
            play.defect(f"{len(phantoms)} trainings that were refused are there: {phantoms[0]}")
        play.round.count("alarms", 1)


def _end_after(play: Play, jobs: list[str], cleared_at: float) -> None:
    """What was under way ends once the alarm is over: a training's request and its answer both need the broker."""
    with Client(play.stage.url) as client:
        ended = [client.finished(job_id, 60) for job_id in jobs]
    jobs_s = time.monotonic() - cleared_at
    play.round.figures["jobs_ended_s"] = max(play.round.figures.get("jobs_ended_s", 0), round(jobs_s, 1))
    # A trainer cannot say that it lives, which the worker may count once as the loss of the trainer.
    more = [f"{job['job_id']}: {job['attempts']}" for job in ended if job["attempts"] > 2]
    if more:
        play.defect(f"the alarm cost jobs more than an attempt: {more[:3]}")
    if jobs_s > _JOBS_BACK_IN_S:
        play.slow(f"the last job ended {jobs_s:.0f} s after the alarm")


_ALARMS = (
    (("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.25")),
    (("set_disk_free_limit", "9000GB"), ("set_disk_free_limit", "200MB")),
)


def _train_is_refused(play: Play) -> float:
    """The seconds until POST /train says 503; there must be no job of it, now and later."""
    began = time.monotonic()
    answer = httpx.post(f"{play.stage.url}/train", json={"model": _REFUSED_MODEL, **QUICK}, timeout=10, trust_env=False)
    taken_s = time.monotonic() - began
    if answer.status_code != 503 or "retry-after" not in answer.headers:
        play.defect(f"a training during the alarm: {answer.status_code}, {dict(answer.headers)}")
    if taken_s > _REFUSED_IN_S:
        play.slow(f"a training during the alarm was refused after {taken_s:.2f} s")
    return taken_s


def retry_storm(play: Play) -> None:
    """F30: while the broker is away, everybody asks five times at once; it is over soon after the broker is back."""
    stage = play.stage
    for _ in range(play.trials):
        loads = [Load(stage.url, _RATE) for _ in range(5)]
        before = stage.pid("broker")
        with loads[0]:
            time.sleep(1)
            stage.kill("broker")
            # At once: each takes a moment to begin.
            with ThreadPoolExecutor(len(loads)) as pool:
                list(pool.map(Load.__enter__, loads[1:]))
            stage.wait_back("broker", before)
            back_at = time.monotonic()
            wait_until(lambda at=back_at, own=loads[0]: _settled(own, at), "a second without a refusal", 60)
            settled_s = time.monotonic() - back_at
            for load in loads[1:]:
                load.__exit__(None, None, None)
        for load in loads:
            _judge(play, load, late_refusals=True)
        play.round.figures["settled_s"] = max(play.round.figures.get("settled_s", 0), round(settled_s, 1))
        if settled_s > 15:
            play.slow(f"refusals went on for {settled_s:.0f} s after the broker was back")
        play.round.count("storms", 1)


def _settled(load: Load, since: float) -> bool:
    """Whether for a whole second, after ``since``, everything was answered rightly."""
    now = time.monotonic()
    last = [one for one in load.records[-500:] if one.due > max(since, now - 1.2)]
    return now - since > 1.2 and len(last) > _RATE / 2 and not any(one.problem for one in last)


SCENARIOS = (
    Scenario(
        "F08",
        "A broker that restarts costs refusals within a second, and no job",
        "0 lost; 200 <= 10 s after it is back",
        restart_broker,
        faults=(1, 3),
        chaos=(4, 5),
    ),
    Scenario(
        "F09",
        "A frozen broker hangs nobody",
        "nothing later than its deadline + 0.2 s; 200 <= 10 s",
        freeze_broker,
        faults=(1, 3),
        chaos=(2, 10),
    ),
    Scenario(
        "F10",
        "A broker in alarm is answered with 503 at once",
        "503 <= 1 s; 200 <= 5 s after it; 0 phantoms",
        alarm,
        faults=(1, 1),
        chaos=(2, 6),
    ),
    Scenario(
        "F30",
        "A storm of retries ends when its cause does",
        "<= 15 s after the broker is back",
        retry_storm,
        faults=None,
        chaos=(1, 5),
    ),
)
