"""Calls beside the loop: builds that are to be stopped, when a builder began, and what the engine waits for.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rebuild", sa.Column("spared", sa.Integer(), server_default="0", nullable=False))
    op.add_column("rebuild", sa.Column("begun_at", sa.Double(), nullable=True))
    op.add_column("heartbeat", sa.Column("detail", sa.JSON(), nullable=True))
    op.create_table(
        "cancellation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rebuild_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=63), nullable=False),
        sa.Column("ref", sa.String(), server_default="", nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["rebuild_id"], ["rebuild.id"], name=op.f("fk_cancellation_rebuild_id_rebuild")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_cancellation_image_id_image")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cancellation")),
        sa.UniqueConstraint("key", name=op.f("uq_cancellation_key")),
    )
    op.create_index("ix_cancellation_image", "cancellation", ["image_id"])
