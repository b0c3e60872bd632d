"""Changes that were planned can be withdrawn.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("change", sa.Column("in_doubt", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("change", sa.Column("withdrawn_at", sa.Double(), nullable=True))
    where = sa.text("in_doubt")
    op.create_index("ix_change_in_doubt", "change", ["id"], sqlite_where=where, postgresql_where=where)
