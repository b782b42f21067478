"""Predictors are asked to load a version until each has said something; the broker is wire's own in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trainer import announce
from trainer.announce import Announcer, Presence
from wire import messages, settings, topology
from wire.client import RpcClient
from wire.deadlines import Deadline
from wire.memory import MemoryBroker
from wire.server import Request

CONFIG = settings.Settings(predict=settings.Predict(presence_s=0.05))


@pytest.fixture
def presence() -> Presence:
    """Two predictors were heard of."""
    presence = Presence(CONFIG)
    for name in ("one", "two"):
        alive: Any = SimpleNamespace(
            kind=messages.PredictorAlive.TYPE, body=messages.PredictorAlive(predictor_id=name).encode()
        )
        presence.hear(alive)
    return presence


def test_a_predictor_that_missed_the_question_is_asked_again(
    broker: MemoryBroker, rpc: RpcClient, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "_ASK_AGAIN_S", 0.3)
    asked = {"one": 0, "two": 0}

    def answer(name: str, misses: int) -> Any:
        def hear(request: Request) -> messages.Message | None:
            asked[name] += 1
            if asked[name] <= misses:
                return None
            found = messages.LoadVersion.decode(request.body)
            return messages.VersionLoaded(predictor_id=name, model=found.model, version=found.version)

        return hear

    servers = [broker.server("predictor", name) for name in asked]
    for server, (name, misses) in zip(servers, (("one", 0), ("two", 2)), strict=True):
        server.subscribe(topology.ANNOUNCE, answer(name, misses))
        server.start()
        assert server.wait_ready(10)
    warmed = Announcer(rpc, presence).warm("m", 1, Deadline.after(20))
    assert (warmed.loaded, warmed.silent) == ({"one", "two"}, set())
    assert asked["two"] >= 3
    for server in servers:
        server.stop(1)


def test_nobody_is_waited_for_beyond_the_deadline(
    rpc: RpcClient, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "_ASK_AGAIN_S", 0.1)
    assert Announcer(rpc, presence).warm("m", 1, Deadline.after(3)).silent == {"one", "two"}
