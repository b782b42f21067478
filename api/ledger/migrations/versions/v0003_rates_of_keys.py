"""How many calls a second a key may make."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
"""This revision."""
down_revision = "0002"
"""The revision before it."""


def upgrade() -> None:
    """Add the column; keys that are there have no limit."""
    op.add_column("keys", sa.Column("rate_per_s", sa.Float))


def downgrade() -> None:
    """Drop it, with what it holds."""
    op.drop_column("keys", "rate_per_s")
