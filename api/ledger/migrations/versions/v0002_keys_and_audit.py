"""API keys, and the audit log of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
"""This revision."""
down_revision = "0001"
"""The revision before it."""

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "keys",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("prefix", sa.Text, nullable=False, unique=True),
        *_texts("digest", "owner", "scopes"),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("created_ms", "expires_ms")),
        sa.Column("revoked_ms", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("keys_by_owner", "keys", ["owner", "number"])
    op.create_index("keys_by_expiry", "keys", ["expires_ms"])
    op.create_table(
        "audit",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        *_texts("actor", "key_prefix", "action", "target", "request_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_by_time", "audit", ["at_ms"])


def downgrade() -> None:
    """Drop them, with what they hold."""
    op.drop_table("audit")
    op.drop_table("keys")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]
