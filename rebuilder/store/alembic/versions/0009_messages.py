"""Messages that can never be read are set aside, as they came; epochs are as large as RPM's.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("topic", sa.String(length=255), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("encoding", sa.String(length=255), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_dead_letter")),
        sa.UniqueConstraint("digest", name=op.f("uq_dead_letter_digest")),
    )
    if op.get_context().dialect.name == "postgresql":  # SQLite's integers have 64 bits already
        for table in ("change", "rpm"):
            op.alter_column(table, "epoch", type_=sa.BigInteger(), existing_type=sa.Integer())
