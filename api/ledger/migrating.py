"""Bring the database to the newest schema; run by every process that starts, serialised.

Migrations are modules of the package ``api.ledger.migrations``, so an installed wheel has them.
The whole upgrade is one transaction on either database: a crash in the middle leaves the old one.
"""

from __future__ import annotations

import logging

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from api.ledger.database import Database
from wire import logs


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "api.ledger:migrations")
    config.set_main_option("path_separator", "os")
    return config


def revisions(database: Database) -> tuple[str, str]:
    """The schema's revision in the database, and the newest one that this code knows; "" for none.

    Raises errors.LedgerUnavailable.
    """
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    with database.reading() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    return present or "", newest or ""


def migrate(database: Database) -> None:
    """Upgrade to the newest revision. Raises errors.LedgerUnavailable."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # our own line says what matters
    config = _config()
    with database.serialised("warren.migrate") as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    logs.log("ledger.migrated", database=database.engine.dialect.name)
