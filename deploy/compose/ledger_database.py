"""Makes the ledger's database and its least-privilege owner: part of the one-shot service ``provision``.

Between an empty PostgreSQL and the services. The administrator's password stays with the database
and this service; everybody else connects as ``warren``, who owns the one database and may neither
make others nor roles. A password that was changed in its file is changed in the database.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

HOST = "postgres"
"""The database's name on its network."""
SECRETS = Path("/secrets/postgres")
"""The database's own secrets."""
OWNER = "warren"
"""Role and database of the ledger."""

_CONNECT_S = 10


def prepare(administrator: str, owner: str, password: str) -> None:
    """Make role and database ``owner`` where they are missing, and set the role's password.

    ``administrator`` is a libpq connection string. Raises psycopg.Error.
    """
    name = sql.Identifier(owner)
    with psycopg.connect(administrator, connect_timeout=_CONNECT_S, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [owner]).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {}").format(name))
        rights = "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}"
        connection.execute(sql.SQL(rights).format(name, sql.Literal(password)))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [owner]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def main() -> int:
    """Prepare the stack's database."""
    password = (SECRETS / "administrator.password").read_text().strip()
    administrator = conninfo.make_conninfo(host=HOST, user="postgres", dbname="postgres", password=password)
    try:
        prepare(administrator, OWNER, (SECRETS / "ledger.password").read_text().strip())
    except psycopg.Error as error:
        sys.stderr.write(f"The ledger's database could not be prepared: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
