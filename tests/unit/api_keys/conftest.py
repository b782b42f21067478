"""Keys on a ledger of their own, and an application that needs them, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.app import Gateway, create_app
from api.keys import making
from api.keys.callers import LOCAL
from api.keys.keyring import Keyring
from api.ledger import Ledger
from api.state import State
from wire import settings
from wire.memory import MemoryBroker

MakeKey = Callable[..., str]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a look at the ledger takes says nothing here."""
    monkeypatch.setattr("api.keys.keyring.LOOK_WAIT_S", 20.0)


@pytest.fixture
def config(tmp_path: Path) -> settings.Settings:
    return settings.Settings(
        api=settings.Api(keys="required"),
        ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"),
        paths=settings.Paths(datasets=tmp_path / "datasets"),
    )


@pytest.fixture
def ledger(config: settings.Settings) -> Iterator[Ledger]:
    ledger = Ledger(config.ledger)
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def make_key(ledger: Ledger) -> MakeKey:
    """Makes a key: the text its owner gets."""

    def make(owner: str = "ann", *scopes: str, days: int = 1, rate_per_s: float | None = None) -> str:
        wanted = making.Wanted(owner, frozenset(scopes or ("predict",)), days, rate_per_s)
        return making.create(ledger, wanted, LOCAL)[1]

    return make


@pytest.fixture
async def keyring(config: settings.Settings, ledger: Ledger) -> AsyncIterator[Keyring]:
    """A keyring that looks at the ledger when it is told to only."""
    migrated = asyncio.Event()
    keyring = Keyring(config, ledger.keys, migrated)
    yield keyring
    await keyring.close()


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def app(config: settings.Settings, ledger: Ledger, broker: MemoryBroker) -> AsyncIterator[Gateway]:
    app = create_app(config)
    rpc = broker.async_client("api", "api")
    await rpc.start()
    state = State(config, rpc, ledger, None)  # type: ignore[arg-type]
    state.migrated.set()
    app.state.gateway = state
    await state.keyring.start()
    yield app
    await state.keyring.close()
    await state.trail.close()
    await rpc.close()


@pytest.fixture
async def client(app: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def raw(key: str) -> dict[bytes, bytes]:
    """The same as a server hands it over."""
    return {b"authorization": b"Bearer " + key.encode("latin-1")}
