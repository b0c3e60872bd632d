"""Names that are to point to proven builds.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("build_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("spec", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, server_default="pending"),
        sa.Column("reason", sa.String(), nullable=False, server_default=""),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("done_at", sa.Double(), nullable=True),
        sa.CheckConstraint("state IN ('done', 'pending', 'refused', 'superseded')", name=op.f("ck_delivery_state")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_delivery_image_id_image")),
        sa.ForeignKeyConstraint(["build_id"], ["image_build.id"], name=op.f("fk_delivery_build_id_image_build")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "uq_delivery_pending", "delivery", ["spec"], unique=True, sqlite_where=pending, postgresql_where=pending
    )  # fmt: skip
    op.create_index("ix_delivery_build", "delivery", ["build_id"])
    op.create_index("ix_delivery_image", "delivery", ["image_id", "id"])
