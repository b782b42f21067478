"""The ledger's first moments: processes that open and migrate it together, and the tables that come of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from api.ledger import Ledger
from tests.jobs import all_at_once
from wire import errors, settings


def test_processes_that_start_together_migrate_one_after_the_other(ledger_config: settings.Ledger) -> None:
    ledgers = [Ledger(ledger_config) for _ in range(4)]
    outcomes = all_at_once(*(ledger.migrate for ledger in ledgers))
    assert outcomes == [None] * 4
    for ledger in ledgers:
        ledger.ping()
        ledger.close()


def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    for attempt in range(40):
        config = settings.Ledger(url=f"sqlite:///{tmp_path}/{attempt}/ledger.sqlite3", timeout_s=10)
        ledgers = [Ledger(config) for _ in range(8)]
        assert all_at_once(*(ledger.ping for ledger in ledgers)) == [None] * 8
        for ledger in ledgers:
            ledger.close()


def test_a_file_that_stays_locked_is_unavailable_once_the_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    ledger = Ledger(settings.Ledger(url=f"sqlite:///{path}", timeout_s=0.2))
    with pytest.raises(errors.LedgerUnavailable):
        ledger.ping()
    holder.close()
    ledger.ping()
    ledger.close()


def test_migrations_make_exactly_the_tables_the_code_uses(ledger: Ledger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from api.ledger.tables import metadata

    with ledger._database.reading() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
    assert difference == []


def test_migration_can_be_taken_back(ledger_config: settings.Ledger) -> None:
    from alembic import command
    from alembic.config import Config

    ledger = Ledger(ledger_config)
    ledger.migrate()
    config = Config()
    config.set_main_option("script_location", "api.ledger:migrations")
    config.set_main_option("path_separator", "os")
    with ledger._database.serialised("warren.migrate") as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert set(sqlalchemy.inspect(connection).get_table_names()) == {"alembic_version"}
    ledger.close()
