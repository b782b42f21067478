"""The job ledger: one source of truth for jobs, datasets, API keys and who changed what, in SQL.

Between the routes and workers on one side and SQLite or PostgreSQL on the other. Celery carries
work and is never asked for the truth; every state change here is one conditional UPDATE.
Methods block: the event loop calls them through a thread.
"""

from __future__ import annotations

from sqlalchemy import select

from api.ledger import migrating, retention
from api.ledger.audit import Audit
from api.ledger.database import Database
from api.ledger.datasets import Datasets
from api.ledger.jobs import Jobs
from api.ledger.keys import Keys
from api.ledger.leases import Leases
from api.ledger.watching import Watching
from wire import settings

__all__ = ["Ledger"]


class Ledger:
    """The ledger of one process: ``jobs``, ``leases``, ``watching``, ``datasets``, ``keys`` and ``audit``.

    Every method raises errors.LedgerUnavailable when the database cannot be reached in time.
    """

    def __init__(self, config: settings.Ledger) -> None:
        self._database = Database(config)
        self.jobs = Jobs(self._database)
        self.leases = Leases(self._database)
        self.watching = Watching(self._database)
        self.datasets = Datasets(self._database)
        self.keys = Keys(self._database)
        self.audit = Audit(self._database)

    def migrate(self) -> None:
        """Bring the database to the newest schema; processes that start together take turns. Raises NewerSchema."""
        migrating.migrate(self._database)

    def ping(self) -> None:
        """Ask the database for anything at all."""
        with self._database.reading() as connection:
            connection.execute(select(1))

    def revisions(self) -> tuple[str, str]:
        """The schema's revision in the database, and the newest that this code knows."""
        return migrating.revisions(self._database)

    def forget_jobs(self, *, before_ms: int, limit: int = 500) -> int:
        """Delete jobs that ended before ``before_ms``, at most ``limit``; how many."""
        return retention.forget_jobs(self._database, before_ms=before_ms, limit=limit)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()
