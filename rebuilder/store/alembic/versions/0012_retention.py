"""What points at messages and builds is found by them: they can be deleted without looking through all of history.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_change_message", "change", ["message_id"])
    op.create_index("ix_rebuild_before", "rebuild", ["before_build_id"])
