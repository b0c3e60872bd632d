"""What operators ask of the engine; the engine paused; rebuilds by hand.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pause",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_pause_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pause")),
    )
    op.add_column("action", sa.Column("done_at", sa.Double(), nullable=True))
    op.add_column("action", sa.Column("answer", sa.String(), server_default="", nullable=False))
    op.execute("UPDATE action SET done_at = at")
    open_ones = sa.text("done_at IS NULL")
    op.create_index("ix_action_open", "action", ["id"], sqlite_where=open_ones, postgresql_where=open_ones)
    op.add_column("rebuild", sa.Column("note", sa.String(), server_default="", nullable=False))
