"""F32: processes run out of descriptors and memory; they refuse what does not fit, and go on with the rest."""

from __future__ import annotations

import itertools
import resource
import secrets
import time
from pathlib import Path

import httpx
import psutil

from model_store import aliases, names
from tests.acceptance.stack import Client
from tests.faults.load import Load
from tests.faults.publisher import publish
from tests.faults.scenarios.playing import Play, Scenario, press_of
from tests.faults.stage import PROCESSES
from tests.rabbit import wait_until

_RATE = 60.0
_PREDICTORS = ("predictor-1", "predictor-2")
_MORE_BYTES = 64 * 2**20
_NEARLY_NOTHING_BYTES = 8 * 2**20


def short_of_everything(play: Play) -> None:
    """In turns: a replica without descriptors, predictors without memory for one more model, or for one more forest."""
    stage = play.stage
    for trial in range(play.trials):
        if trial % 3 == 0:
            _without_descriptors(play, f"api-{1 + trial // 3 % 2}")
        elif trial % 3 == 1:
            _without_memory(play)
        else:
            _without_memory_for_a_forest(play)
    play.round.count("shortages", play.trials)
    stage.wait_ready(*PROCESSES, timeout_s=30)


def _without_descriptors(play: Play, name: str) -> None:
    """What is open stays open and works; a new connection may be refused, and then the other replica answers."""
    stage = play.stage
    before = {pid: stage.limit(pid, resource.RLIMIT_NOFILE) for pid in stage.pids(name)}
    with Load(stage.url, _RATE) as load:
        time.sleep(1)
        for pid in before:
            stage.limit(pid, resource.RLIMIT_NOFILE, _lowest_free(pid))
        time.sleep(5)
        if stage.ready_itself(name):
            play.defect(f"{name} took a new connection, so it was short of nothing")
        for pid, (soft, _) in before.items():
            stage.limit(pid, resource.RLIMIT_NOFILE, soft)
        stage.wait_ready(name, timeout_s=20)
    play.judge(load)
    gone = [pid for pid in before if not psutil.pid_exists(pid)]
    if gone:
        play.defect(f"{name} ended for want of descriptors")


def _lowest_free(pid: int) -> int:
    """The descriptor that would be opened next: with it as the limit none is, and what is open stays open."""
    taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in itertools.count() if number not in taken)


def _without_memory(play: Play) -> None:
    """A version that does not fit is refused by name; what is loaded goes on, and nobody is restarted for it."""
    stage, press = play.stage, press_of(play)
    mains = {name: stage.pid(name) for name in _PREDICTORS}
    for pid in mains.values():
        size = psutil.Process(pid).memory_info().vms
        stage.limit(pid, resource.RLIMIT_AS, size + _MORE_BYTES)
    model = f"large-{secrets.token_hex(4)}"
    publish(press, model, secrets.token_hex(16), padding_bytes=3 * _MORE_BYTES)
    aliases.move_alias(press.volume, model, names.CHAMPION, 1)
    with Load(stage.url, _RATE) as load, httpx.Client(base_url=stage.url, timeout=15, trust_env=False) as client:
        _is_too_large(play, client, model)
        time.sleep(2)
    play.judge(load)
    _give_back(play, mains, resource.RLIMIT_AS, resource.RLIM_INFINITY)


def _without_memory_for_a_forest(play: Play) -> None:
    """A forest of some megabytes takes twenty times that while it is loaded, and is served once there is room."""
    stage, model = play.stage, f"forest-{secrets.token_hex(4)}"
    for name in _PREDICTORS:
        # What one has freed stays its own, and would be room.
        stage.restart(name)
    mains = {name: stage.pid(name) for name in _PREDICTORS}
    [soft] = {stage.limit(pid, resource.RLIMIT_DATA)[0] for pid in mains.values()}
    for pid in mains.values():
        stage.limit(pid, resource.RLIMIT_DATA, psutil.Process(pid).memory_info().data + _NEARLY_NOTHING_BYTES)
    rows = [{"x": play.rng.random(), "z": play.rng.random(), "y": play.rng.random()} for _ in range(3_000)]
    with Load(stage.url, _RATE) as load, Client(stage.url) as client:
        client.trained(model=model, dataset={"rows": rows}, target="y", estimator="RandomForestRegressor")
        _is_too_large(play, client.http, model)
        _give_back(play, mains, resource.RLIMIT_DATA, soft)
        asked = {"model": model, "instances": [[0.5, 0.5]]}
        wait_until(lambda: client.http.post("/predict", json=asked).status_code == 200, f"{model} is served", 20)
        # The next ones would load it at their start, and have its room.
        client.http.delete(f"/models/{model}").raise_for_status()
    play.judge(load)


def _is_too_large(play: Play, client: httpx.Client, model: str) -> None:
    for _ in range(4):
        answer = client.post("/predict", json={"model": model, "instances": [[1.0, 2.0]]})
        if (answer.status_code, answer.json().get("code")) != (413, "too_large"):
            play.defect(f"a model beyond the memory: {answer.status_code} {answer.text[:120]}")


def _give_back(play: Play, mains: dict[str, int], which: int, soft: int) -> None:
    """Let predictors have their memory again; none may have ended for want of it."""
    for name, pid in mains.items():
        if play.stage.pid(name) != pid:
            play.defect(f"{name} was ended by a model beyond its memory")
        else:
            play.stage.limit(pid, which, soft)


SCENARIOS = (
    Scenario(
        "F32",
        "Who is short of descriptors or memory refuses that much and serves the rest",
        "0 crash loops, 0 failed predictions",
        short_of_everything,
        faults=None,
        chaos=(2, 6),
        stage="plain",
    ),
)
