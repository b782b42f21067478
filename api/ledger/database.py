"""The connection to SQLite or PostgreSQL; the only module that knows how the two differ.

Comes in: settings. Goes out: transactions. Library errors end here: what the database cannot do
now is errors.LedgerUnavailable; the rest is a defect and stays as it is.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    TypeDecorator,
    create_engine,
    event,
    exc,
    func,
    make_url,
    select,
)
from sqlalchemy import Text as AnyText
from sqlalchemy.pool import ConnectionPoolEntry

from wire import errors, logs, settings

_WRITES = "warren_writes"
_WAL_PAUSE_S = 0.02
_PAGE_CACHE_KIB, _KEPT_STATEMENTS = 256, 16
"""What each connection of SQLite keeps: pages (sqlite.org/pragma.html#pragma_cache_size), and prepared statements of
some 12 KB. The 2 MiB and 128 statements of the defaults fill up for hours, which nobody can tell from a leak."""
_PROBES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""Seconds of silence, seconds between probes, and how many: then PostgreSQL's host counts as gone."""


class Text(TypeDecorator[str]):
    """A column of text. PostgreSQL has no NUL in a text, so U+FFFD stands for it on both; nothing of ours has one."""

    impl = AnyText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as the database takes it."""
        return None if value is None else value.replace("\0", "\ufffd")


def now_ms() -> int:
    """The wall clock in whole milliseconds since 1970; for people, never for waiting."""
    return time.time_ns() // 1_000_000


def _url(config: settings.Ledger) -> URL:
    url = make_url(config.url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    if config.password_file is not None:
        url = url.set(password=config.password_file.read_text().strip())
    return url


def _log_ahead(dbapi: sqlite3.Connection, timeout_s: float) -> None:
    """Turn to write-ahead logging, which a new file is not in yet, while others may be doing the same.

    SQLite answers "database is locked" at once, whatever the busy timeout, where waiting could be a deadlock: each of
    two connections reads the file and wants to change its mode (sqlite.org/c3ref/busy_handler.html).
    """
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            dbapi.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                raise
        time.sleep(_WAL_PAUSE_S * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def _prepare_sqlite(engine: Engine, timeout_s: float) -> None:
    @event.listens_for(engine, "connect")
    def _connected(dbapi: Any, _: ConnectionPoolEntry) -> None:
        # The driver would begin transactions by itself, and deferred ones: two readers that both
        # turn into writers then fail at once, whatever the busy timeout says.
        dbapi.isolation_level = None
        for pragma in (
            f"busy_timeout={int(timeout_s * 1000)}",
            # NORMAL may lose the last commits in a power cut; a 202 must not.
            "synchronous=FULL",
            "foreign_keys=ON",
            f"cache_size=-{_PAGE_CACHE_KIB}",
        ):
            dbapi.execute(f"PRAGMA {pragma}").close()
        _log_ahead(dbapi, timeout_s)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def make_engine(config: settings.Ledger) -> Engine:
    """An engine with the bounds of the settings; connects at its first use."""
    url = _url(config)
    wait_ms = int(config.timeout_s * 1000)
    common: dict[str, Any] = {"pool_size": config.pool_size, "max_overflow": 0, "pool_timeout": config.timeout_s}
    if url.get_backend_name() == "sqlite":
        options = {
            "timeout": config.timeout_s,
            "check_same_thread": False,
            "cached_statements": _KEPT_STATEMENTS,
        }
        engine = create_engine(url, connect_args=options, **common)
        _prepare_sqlite(engine, config.timeout_s)
        return engine
    bounds = {
        "connect_timeout": max(2, round(config.timeout_s)),
        # A half-open connection is given up by the kernel: no statement timeout sees it. The timeout is for what was
        # sent; who only waits for an answer of a host that is gone has probes, and by themselves those take two hours.
        "tcp_user_timeout": wait_ms,
        **_PROBES,
        "options": f"-c statement_timeout={wait_ms} -c lock_timeout={wait_ms}",
    }
    return create_engine(url, connect_args=bounds, pool_pre_ping=True, **common)


class Database:
    """Transactions on the ledger's database, for one process; safe to use from many threads."""

    def __init__(self, config: settings.Ledger) -> None:
        self.engine = make_engine(config)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises errors.LedgerUnavailable."""
        with self._guarded(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write, committed at the end. Raises errors.LedgerUnavailable."""
        writers = self.engine.execution_options(**{_WRITES: True})
        with self._guarded(), writers.begin() as connection:
            yield connection

    @contextmanager
    def serialised(self, name: str) -> Iterator[Connection]:
        """A writing transaction that no other of the same ``name`` overlaps, in any process."""
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
            logs.log("ledger.failed", level="ERROR", error=type(error).__name__)
            raise errors.LedgerUnavailable from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
