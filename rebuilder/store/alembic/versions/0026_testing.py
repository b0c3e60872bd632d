"""Tests and gates between proof and promotion, and names that wait to be promoted.

Revision ID: 0026
Revises: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

STATES = "'blocked', 'building', 'canceled', 'failed', 'queued', 'submitting', 'succeeded', 'testing', 'unneeded'"
NOTICES = (
    "'image.blocked', 'image.building', 'image.canceled', 'image.failed', 'image.pushed', 'image.queued', "
    "'image.succeeded', 'image.testing', 'image.unneeded', 'wave.finished', 'wave.planned'"
)
DELIVERIES = "'done', 'pending', 'refused', 'superseded', 'waiting'"


def upgrade() -> None:
    with op.batch_alter_table("rebuild") as rebuild:
        rebuild.add_column(sa.Column("built_at", sa.Double(), nullable=True))
        rebuild.drop_constraint(op.f("ck_rebuild_state"), type_="check")
        rebuild.create_check_constraint(op.f("ck_rebuild_state"), f"state IN ({STATES}, 'waiting')")
    with op.batch_alter_table("delivery") as delivery:
        delivery.drop_constraint(op.f("ck_delivery_state"), type_="check")
        delivery.create_check_constraint(op.f("ck_delivery_state"), f"state IN ({DELIVERIES})")
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_constraint(op.f("ck_outbox_notice"), type_="check")
        outbox.create_check_constraint(op.f("ck_outbox_notice"), f"notice IN ({NOTICES})")
    waiting, pending = sa.text("state = 'waiting'"), sa.text("state = 'pending'")
    op.create_index(
        "ix_delivery_waiting", "delivery", ["image_id"], sqlite_where=waiting, postgresql_where=waiting
    )  # fmt: skip
    op.create_table(
        "verdict",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rebuild_id", sa.Integer(), nullable=False),
        sa.Column("build_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, server_default="pending"),
        sa.Column("reason", sa.String(), nullable=False, server_default=""),
        sa.Column("who", sa.String(), nullable=False, server_default=""),
        sa.Column("test", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("done_at", sa.Double(), nullable=True),
        sa.CheckConstraint("state IN ('failed', 'passed', 'pending', 'void')", name=op.f("ck_verdict_state")),
        sa.CheckConstraint("kind IN ('gate', 'test')", name=op.f("ck_verdict_kind")),
        sa.ForeignKeyConstraint(["rebuild_id"], ["rebuild.id"], name=op.f("fk_verdict_rebuild_id_rebuild")),
        sa.ForeignKeyConstraint(["build_id"], ["image_build.id"], name=op.f("fk_verdict_build_id_image_build")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict")),
    )
    op.create_index(
        "ix_verdict_pending", "verdict", ["rebuild_id"], sqlite_where=pending, postgresql_where=pending
    )  # fmt: skip
    op.create_index("ix_verdict_rebuild", "verdict", ["rebuild_id", "id"])
