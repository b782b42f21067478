"""The tables of the ledger, as the code sees them; migrations make them.

Under every arrow that ends a job's life or begins it. Times are whole milliseconds since 1970
(UTC), for people and retention only: nothing waits or expires by them. JSON is kept as text,
because the ledger never looks inside.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table
from sqlalchemy import UniqueConstraint as Unique

from api.ledger.database import Text

metadata = MetaData()
"""Every table of the ledger."""

_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

jobs = Table(
    "jobs",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("job_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("body_digest", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("dataset_id", Text),
    Column("request", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("settle_due", Boolean, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("enqueues", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
    Column("holder", Text),
    Column("fraction", Float, nullable=False),
    Column("stage", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("result", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("dead_letter", Text, nullable=False),
    Column("events", Integer, nullable=False),
    Unique("owner", "idempotency_key", name="jobs_one_per_key"),
    Index("jobs_by_status", "status", "number"),
    Index("jobs_by_owner", "owner", "number"),
    Index("jobs_by_model", "model", "number"),
    Index("jobs_by_dataset", "dataset_id", "status"),
    Index("jobs_by_end", "ended_ms"),
    sqlite_autoincrement=True,
)
"""One row per job. ``number`` grows with every job and orders them. ``epoch`` counts leases
taken and fences out a worker that lost its lease; ``beat`` counts renewals; ``holder`` names the
worker that follows the job, and its lease; NULL: none. ``confirmed``: the broker has said it keeps a message of
this job. ``settle_due``: the last failure is decided, but the volume has not been asked yet
whether a version exists. ``enqueues`` grows with everyone who sets out to publish a message of it.
``dead_letter``: '', 'due', 'sent', or 'too_large' for a message; of a job whose letter is being sent ``holder``
says so and ``beat`` counts the tries. ``events`` counts the job's events."""

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("data", Text, nullable=False),
)
"""What happened to a job, numbered from 1 without gaps: what an event stream replays."""

datasets = Table(
    "datasets",
    metadata,
    Column("dataset_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    Column("profile", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Index("datasets_by_use", "used_ms"),
)
"""One row per stored content. ``profile`` is NULL until a trainer inspected it; ``error_*`` say
why it cannot be read, where that is known."""

dataset_owners = Table(
    "dataset_owners",
    metadata,
    Column("dataset_id", Text, ForeignKey("datasets.dataset_id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
    Index("dataset_owners_by_owner", "owner", "created_ms"),
)
"""Who uploaded a content: the same bytes from two owners are one dataset, seen by both."""

keys = Table(
    "keys",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("prefix", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("rate_per_s", Float),
    Index("keys_by_owner", "owner", "number"),
    Index("keys_by_expiry", "expires_ms"),
    sqlite_autoincrement=True,
)
"""One row per API key ever made. ``digest`` is the hexadecimal SHA-256 of the secret, which is
nowhere; ``scopes`` are separated by spaces; ``rate_per_s`` is NULL for a key without a limit. Rows are
inserted, revoked once, and forgotten: so the highest number with the counts of rows and of revoked rows
tells whether anything has changed."""

audit = Table(
    "audit",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("key_prefix", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Index("audit_by_time", "at_ms"),
    sqlite_autoincrement=True,
)
"""Who changed what, and when. ``actor`` is an owner of keys; ``key_prefix`` is '' where no key was
needed; ``target`` is an id or a name, such as ``churn/v3``."""
