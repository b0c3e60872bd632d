"""Builds that were taken back, and requests for it; that is announced.

Revision ID: 0027
Revises: 0026
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

NOTICES = (
    "'image.blocked', 'image.building', 'image.canceled', 'image.failed', 'image.pushed', 'image.queued', "
    "'image.rolled-back', 'image.succeeded', 'image.testing', 'image.unneeded', 'wave.finished', 'wave.planned'"
)


def upgrade() -> None:
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_constraint(op.f("ck_outbox_notice"), type_="check")
        outbox.create_check_constraint(op.f("ck_outbox_notice"), f"notice IN ({NOTICES})")
    op.create_table(
        "rollback_request",
        sa.Column("action_id", sa.Integer(), nullable=False),
        sa.Column("build", sa.String(), nullable=False),
        sa.Column("with_descendants", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["action_id"], ["action.id"], name=op.f("fk_rollback_request_action_id_action")),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_rollback_request")),
    )
    builds = [
        sa.ForeignKeyConstraint([name], ["image_build.id"], name=op.f(f"fk_rollback_{name}_image_build"))
        for name in ("bad_build_id", "good_build_id")
    ]
    op.create_table(
        "rollback",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("bad_build_id", sa.Integer(), nullable=False),
        sa.Column("good_build_id", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_rollback_image_id_image")),
        *builds,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollback")),
    )
    op.create_index("ix_rollback_image", "rollback", ["image_id", "id"])
    op.create_index("ix_rollback_bad", "rollback", ["bad_build_id"])
    op.create_index("ix_rollback_good", "rollback", ["good_build_id"])
