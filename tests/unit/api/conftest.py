"""A ledger on SQLite and on PostgreSQL, on both of which every test of it runs; a shop that waits little; a replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from api.app import create_app
from api.jobs import following, task
from api.ledger import Ledger
from api.ledger.tables import metadata
from api.state import State
from tests.postgres import Postgres
from tests.unit.api.shop import Shop
from wire import settings
from wire.client import RpcClient
from wire.memory import MemoryBroker


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_config(request: pytest.FixtureRequest, tmp_path: Path) -> settings.Ledger:
    if request.param == "sqlite":
        return settings.Ledger(url=f"sqlite:///{tmp_path}/ledger/ledger.sqlite3", timeout_s=10)
    server: Postgres = request.getfixturevalue("postgres")
    return settings.Ledger(url=server.fresh_database(), timeout_s=10)


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres) -> settings.Ledger:
    config = settings.Ledger(url=postgres.fresh_database(), timeout_s=10)
    ledger = Ledger(config)
    ledger.migrate()
    ledger.close()
    return config


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger of the newest schema."""
    if request.param == "sqlite":
        ledger = Ledger(settings.Ledger(url=f"sqlite:///{tmp_path}/ledger/ledger.sqlite3", timeout_s=10))
        ledger.migrate()
    else:
        ledger = Ledger(request.getfixturevalue("migrated_postgres"))
        with ledger._database.writing() as connection:
            names = ", ".join(table.name for table in metadata.sorted_tables)
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    yield ledger
    ledger.close()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(task, "_RETRY_PAUSE_S", 0.01)
    monkeypatch.setattr(following, "POLL_S", 0.02)
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def rpc(broker: MemoryBroker) -> Iterator[RpcClient]:
    rpc = broker.client("worker", "worker")
    rpc.start()
    assert rpc.wait_connected(10)
    yield rpc
    rpc.close()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"))
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
async def state(tmp_path: Path, lite: Ledger) -> AsyncIterator[State]:
    """What a replica's routes have, with a broker in memory."""
    rpc = MemoryBroker().async_client("api", "api")
    await rpc.start()
    assert await rpc.wait_connected(10)
    config = settings.Settings(
        paths=settings.Paths(predictions=tmp_path / "predictions", datasets=tmp_path / "datasets")
    )
    state = State(config, rpc, lite, None)  # type: ignore[arg-type]
    yield state
    await state.trail.close()
    await rpc.close()


@pytest.fixture
async def client(state: State) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(state.settings)
    app.state.gateway = state
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client
