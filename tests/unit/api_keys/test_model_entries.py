"""Changes to models have an entry also where the trainer's answer never came; refused ones have none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from api.app import Gateway
from api.ledger import Ledger
from tests.rabbit import eventually
from tests.unit.api_keys.conftest import MakeKey, bearer
from wire import errors, messages, topology
from wire.memory import MemoryBroker
from wire.server import Request, RpcServer

ALIAS = "/models/m/aliases/champion"
MOVED = messages.AliasState(model="m", alias="champion", version=3, previous=2, revision=4)
Answer = Callable[[Request], messages.Message]


class Trainer:
    """Answers changes by what the test sets; ``began`` is set when one has come, and ``go`` lets it answer."""

    def __init__(self, server: RpcServer) -> None:
        self.answer: Answer = lambda _: messages.Deleted()
        self.began, self.go = threading.Event(), threading.Event()
        self.server = server
        server.serve(topology.CHANGES, lambda request: self.answer(request), prefetch=1)

    def late(self, _: Request) -> messages.Message:
        self.began.set()
        self.go.wait(20)
        return MOVED


@pytest.fixture
def trainer(broker: MemoryBroker) -> Iterator[Trainer]:
    trainer = Trainer(broker.server("trainer", "changes"))
    trainer.server.start()
    assert trainer.server.wait_ready(10)
    yield trainer
    trainer.go.set()
    trainer.server.stop(5)


@pytest.fixture
async def boss(app: Gateway, client: httpx.AsyncClient, make_key: MakeKey) -> httpx.AsyncClient:
    """Asks with a key of an admin's."""
    assert await app.state.gateway.rpc.wait_connected(10)
    client.headers.update(bearer(make_key("boss", "admin")))
    return client


def entries(ledger: Ledger) -> list[tuple[str, str]]:
    """What the admin did, oldest first."""
    found = reversed(ledger.audit.page(before=None, limit=99))
    return [(entry.action, entry.target) for entry in found if entry.actor == "boss"]


@pytest.mark.parametrize(
    ("method", "path", "body", "entry"),
    [
        ("PUT", ALIAS, {"version": 3}, ("alias.moved", "m/champion to 3 (outcome unknown)")),
        ("DELETE", ALIAS, None, ("alias.deleted", "m/champion (outcome unknown)")),
        ("POST", "/models/m/rollback", None, ("model.rolled_back", "m (outcome unknown)")),
        ("DELETE", "/models/m/versions/2", None, ("version.deleted", "m/2 (outcome unknown)")),
        ("DELETE", "/models/m", None, ("model.deleted", "m (outcome unknown)")),
    ],
)
async def test_a_change_whose_answer_is_late_has_an_entry(
    boss: httpx.AsyncClient,
    ledger: Ledger,
    trainer: Trainer,
    method: str,
    path: str,
    body: dict[str, int] | None,
    entry: tuple[str, str],
) -> None:
    trainer.answer = trainer.late
    answer = await boss.request(method, path, json=body, headers={"X-Request-Timeout-Ms": "3000"})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    await eventually(trainer.began.is_set, "the change has come to the trainer")
    assert entries(ledger) == [entry]


async def test_a_change_whose_broker_goes_away_behind_it_has_an_entry(
    boss: httpx.AsyncClient, ledger: Ledger, trainer: Trainer, broker: MemoryBroker
) -> None:
    def gone(request: Request) -> messages.Message:
        broker.stop()
        return trainer.late(request)

    trainer.answer = gone
    answer = await boss.delete("/models/m")
    assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
    assert entries(ledger) == [("model.deleted", "m (outcome unknown)")]


async def test_a_change_that_breaks_the_trainer_has_an_entry(
    boss: httpx.AsyncClient, ledger: Ledger, trainer: Trainer
) -> None:
    def broken(_: Request) -> messages.Message:
        raise OSError("the volume")

    trainer.answer = broken
    assert (await boss.delete("/models/m")).status_code == 500
    assert entries(ledger) == [("model.deleted", "m (outcome unknown)")]


async def test_what_was_refused_or_never_sent_has_no_entry(
    app: Gateway, boss: httpx.AsyncClient, ledger: Ledger, trainer: Trainer, broker: MemoryBroker
) -> None:
    def refuse(_: Request) -> messages.Message:
        raise errors.ModelNotFound

    trainer.answer = refuse
    assert (await boss.delete("/models/m")).status_code == 404
    rpc = app.state.gateway.rpc
    broker.raise_alarm()
    rpc.broadcast(topology.PRESENCE, b"", "any")
    await eventually(lambda: rpc.blocked, "the replica has heard of the alarm")
    assert (await boss.delete("/models/m")).status_code == 503
    assert entries(ledger) == []


async def test_what_was_made_has_its_entry(boss: httpx.AsyncClient, ledger: Ledger, trainer: Trainer) -> None:
    assert (await boss.delete("/models/m/versions/2")).status_code == 204
    trainer.answer = lambda _: MOVED
    assert (await boss.put(ALIAS, json={"version": 3})).json()["version"] == 3
    assert (await boss.post("/models/m/rollback")).status_code == 200
    assert entries(ledger) == [
        ("version.deleted", "m/2"),
        ("alias.moved", "m/champion to 3"),
        ("model.rolled_back", "m to 3"),
    ]
