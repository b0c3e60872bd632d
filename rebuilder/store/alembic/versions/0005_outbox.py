"""What is to be announced on the bus; who asked for a rebuild by hand.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NOTICES = (
    "'image.blocked', 'image.building', 'image.canceled', 'image.failed', 'image.queued', 'image.succeeded', "
    "'image.unneeded', 'wave.finished', 'wave.planned'"
)


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("notice", sa.String(length=24), nullable=False),
        sa.Column("wave_id", sa.Integer(), nullable=False),
        sa.Column("rebuild_id", sa.Integer(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("refused_at", sa.Double(), nullable=True),
        sa.Column("refused", sa.String(), server_default="", nullable=False),
        sa.CheckConstraint(f"notice IN ({NOTICES})", name=op.f("ck_outbox_notice")),
        sa.ForeignKeyConstraint(["wave_id"], ["wave.id"], name=op.f("fk_outbox_wave_id_wave")),
        sa.ForeignKeyConstraint(["rebuild_id"], ["rebuild.id"], name=op.f("fk_outbox_rebuild_id_rebuild")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
    )
    refused = sa.text("refused_at IS NOT NULL")
    op.create_index("ix_outbox_refused_at", "outbox", ["refused_at"], sqlite_where=refused, postgresql_where=refused)
    op.add_column("rebuild", sa.Column("asked_by", sa.String(), server_default="", nullable=False))
