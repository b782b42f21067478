"""Bring the database to the newest schema; run by every process that starts, serialised.

Only a process that finds an older schema loads Alembic (``upgrading``), which stays in memory: 12 MB.
"""

from __future__ import annotations

import pkgutil

from sqlalchemy import Connection, inspect, text

from api.ledger.database import Database
from api.ledger.migrations import versions
from wire import errors, logs

_TABLE = "alembic_version"


class NewerSchema(errors.LedgerUnavailable):
    """The ledger has the schema of a newer release."""


def newest() -> str:
    """The newest revision that this code knows: the number in the name of its module, such as ``v0003_…``."""
    return max(module.name for module in pkgutil.iter_modules(versions.__path__)).partition("_")[0].removeprefix("v")


def revisions(database: Database) -> tuple[str, str]:
    """The schema's revision in the database, and the newest one that this code knows; "" for none.

    Raises errors.LedgerUnavailable.
    """
    with database.reading() as connection:
        return _present(connection), newest()


def migrate(database: Database) -> None:
    """Upgrade to the newest revision. Raises errors.LedgerUnavailable and NewerSchema, as the way back is a backup."""
    with database.serialised("warren.migrate") as connection:
        present, wanted = _present(connection), newest()
        if present > wanted:
            raise NewerSchema(f"The ledger has schema {present}, this release knows {wanted}: start the newer release.")
        if present != wanted:
            from api.ledger import upgrading  # here, because most processes need none of it

            upgrading.upgrade(connection)
    logs.log("ledger.migrated", database=database.engine.dialect.name)


def _present(connection: Connection) -> str:
    if not inspect(connection).has_table(_TABLE):
        return ""
    return connection.execute(text(f"SELECT version_num FROM {_TABLE}")).scalar() or ""  # noqa: S608 - a constant
