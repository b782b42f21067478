"""The ledger's first moments: processes that open and migrate it together, and the tables that come of it."""

from __future__ import annotations

import json
import os
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

from api import lifespan
from api.ledger import Ledger, migrating, upgrading
from api.ledger.tables import metadata
from api.readiness import Readiness
from api.state import State
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


def move_ahead(ledger: Ledger) -> str:
    """Give the ledger the schema of the next release; the sentence that refuses it."""
    ahead = f"{int(migrating.newest()) + 1:04}"
    with ledger._database.writing() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = :ahead"), {"ahead": ahead})
    return f"The ledger has schema {ahead}, this release knows {migrating.newest()}: start the newer release."


def test_an_older_release_refuses_a_newer_schema_by_name(ledger_config: settings.Ledger) -> None:
    ledger = Ledger(ledger_config)
    ledger.migrate()
    refusal = move_ahead(ledger)
    before = ledger.revisions()
    with pytest.raises(migrating.NewerSchema) as refused:
        ledger.migrate()
    assert refused.value.message == refusal
    assert ledger.revisions() == before
    ledger.close()


async def test_a_replica_of_an_older_release_says_so_once_and_goes_on_looking(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = move_ahead(state.ledger)
    real, tries = state.ledger.migrate, []

    def migrate() -> None:
        tries.append(1)
        if len(tries) == 3:
            with state.ledger._database.writing() as connection:
                connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = :newest"), newest)
        real()

    newest = {"newest": migrating.newest()}
    monkeypatch.setattr(state.ledger, "migrate", migrate)
    await lifespan._migrate(state)
    assert state.migrated.is_set()
    assert caplog.messages.count("ledger.failed") == 1
    state.migrated.clear()
    assert await Readiness(state)._ask_ledger() == {"ledger": refusal}


def test_a_worker_of_an_older_release_ends_with_one_line(lite: Ledger, tmp_path: Path) -> None:
    refusal = move_ahead(lite)
    environment = {**os.environ, "WARREN_LEDGER__URL": f"sqlite:///{tmp_path}/ledger.sqlite3"}
    command = [sys.executable, "-m", "api.jobs.worker"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert (done.returncode, [line.get("problem") for line in lines]) == (1, [refusal])
