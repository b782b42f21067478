"""What a server tells everybody behind a fanout exchange, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rabbit import wait_until
from wire import messages, topology

if TYPE_CHECKING:
    from tests.contract.conftest import Bench

ALIVE = messages.PredictorAlive(predictor_id="p")


def test_a_server_tells_everybody_who_listens(bench: Bench) -> None:
    heard: list[tuple[str, bytes]] = []
    listener = bench.server("trainer", "listener")
    listener.subscribe(topology.PRESENCE, lambda request: heard.append((request.kind, request.body)))
    bench.start(listener)
    speaker = bench.start(bench.server(name="speaker"))
    speaker.broadcast(topology.PRESENCE, ALIVE)
    wait_until(lambda: heard == [(ALIVE.TYPE, ALIVE.encode())], "the listener hears it")


def test_a_server_may_tell_nobody(bench: Bench) -> None:
    speaker = bench.server(name="speaker")
    bench.start(speaker)
    speaker.broadcast(topology.PRESENCE, ALIVE)
    speaker.stop(5)


def test_what_is_told_while_the_connection_is_away_is_heard_when_it_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.server.BROADCAST_S", 60.0)
    heard: list[str] = []
    listener = bench.server("trainer", "listener")
    listener.subscribe(topology.PRESENCE, lambda request: heard.append(request.kind))
    bench.start(listener)
    speaker = bench.start(bench.server(name="speaker"))
    bench.close_publishing("speaker")
    speaker.broadcast(topology.PRESENCE, ALIVE)
    wait_until(lambda: heard, "the listener hears it")
