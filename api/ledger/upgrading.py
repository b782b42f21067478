"""The way from an older schema to the newest, by Alembic.

Migrations are modules of the package ``api.ledger.migrations``, so an installed wheel has them.
The whole upgrade is one transaction on either database: a crash in the middle leaves the old one.
"""

from __future__ import annotations

import logging

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def configuration(connection: Connection) -> Config:
    """What Alembic's commands need to work within a transaction that is open."""
    config = Config()
    config.set_main_option("script_location", "api.ledger:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Run the revisions that are missing, in this transaction."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # our own line says what matters
    command.upgrade(configuration(connection), "head")
