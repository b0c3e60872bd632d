"""That a build was pushed is announced.

Revision ID: 0025
Revises: 0024
"""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

NOTICES = (
    "'image.blocked', 'image.building', 'image.canceled', 'image.failed', 'image.pushed', 'image.queued', "
    "'image.succeeded', 'image.unneeded', 'wave.finished', 'wave.planned'"
)


def upgrade() -> None:
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_constraint(op.f("ck_outbox_notice"), type_="check")
        outbox.create_check_constraint(op.f("ck_outbox_notice"), f"notice IN ({NOTICES})")
