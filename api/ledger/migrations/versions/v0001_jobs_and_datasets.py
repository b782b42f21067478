"""Jobs with their events, and datasets with their owners."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
"""This revision."""
down_revision = None
"""The revision before it."""

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the four tables."""
    _jobs()
    _events()
    _datasets()


def downgrade() -> None:
    """Drop them, with what they hold."""
    for table in ("dataset_owners", "datasets", "job_events", "jobs"):
        op.drop_table(table)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _integers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.Text, nullable=False, unique=True),
        *_texts("kind", "owner", "body_digest", "model", "request", "request_id", "status"),
        *(sa.Column(name, sa.Text) for name in ("idempotency_key", "dataset_id", "holder")),
        *(sa.Column(name, sa.Boolean, nullable=False) for name in ("cancel_requested", "settle_due", "confirmed")),
        *_integers("enqueues", "attempts", "epoch", "beat", "events"),
        sa.Column("fraction", sa.Float, nullable=False),
        *_texts("stage", "message", "dead_letter"),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger) for name in ("started_ms", "ended_ms")),
        *(sa.Column(name, sa.Text) for name in ("result", "error_code", "error_message")),
        sa.UniqueConstraint("owner", "idempotency_key", name="jobs_one_per_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("jobs_by_status", "jobs", ["status", "number"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "number"])
    op.create_index("jobs_by_model", "jobs", ["model", "number"])
    op.create_index("jobs_by_dataset", "jobs", ["dataset_id", "status"])
    op.create_index("jobs_by_end", "jobs", ["ended_ms"])


def _events() -> None:
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        *_texts("name", "data"),
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("dataset_id", sa.Text, primary_key=True),
        *_texts("kind", "sha256"),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("size_bytes", "created_ms", "used_ms")),
        *(sa.Column(name, sa.Text) for name in ("profile", "error_code", "error_message")),
    )
    op.create_index("datasets_by_use", "datasets", ["used_ms"])
    op.create_table(
        "dataset_owners",
        sa.Column("dataset_id", sa.Text, sa.ForeignKey("datasets.dataset_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("dataset_owners_by_owner", "dataset_owners", ["owner", "created_ms"])
