"""A ledger on SQLite and on a real PostgreSQL: every test of the ledger runs on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.ledger import Ledger
from tests.postgres import Postgres
from wire import settings


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


@pytest.fixture
def ledger(ledger_config: settings.Ledger) -> Iterator[Ledger]:
    ledger = Ledger(ledger_config)
    ledger.migrate()
    yield ledger
    ledger.close()
