"""The ledger's first moments: processes that open and migrate it together, and the tables that come of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from api.ledger import Ledger, migrating, upgrading
from api.ledger.tables import metadata
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
    with ledger._database.reading() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
    assert difference == []


def test_migration_can_be_taken_back(ledger_config: settings.Ledger) -> None:
    ledger = Ledger(ledger_config)
    ledger.migrate()
    with ledger._database.serialised("warren.migrate") as connection:
        command.downgrade(upgrading.configuration(connection), "base")
        assert set(sqlalchemy.inspect(connection).get_table_names()) == {"alembic_version"}
    ledger.close()


def test_the_newest_revision_is_alembics(ledger: Ledger) -> None:
    with ledger._database.reading() as connection:
        scripts = ScriptDirectory.from_config(upgrading.configuration(connection))
    assert ledger.revisions() == (migrating.newest(), scripts.get_current_head())


def test_who_finds_the_newest_schema_does_not_load_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    code = (
        "import sys; from api.ledger import Ledger; from wire import settings;"
        "ledger = Ledger(settings.Ledger(url=sys.argv[1])); ledger.migrate(); print('alembic' in sys.modules)"
    )
    loaded = [
        subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True, timeout=60)
        for _ in range(2)
    ]
    assert [done.stdout.split()[-1] for done in loaded] == ["True", "False"]
