"""What counts for an image is found by the image too; SQLite only uses an index whose condition it is asked by.

Revision ID: 0008
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sqlite, postgresql = sa.text("superseded = 0"), sa.text("NOT superseded")
    op.drop_index("ix_rebuild_current", "rebuild")
    op.create_index("ix_rebuild_current", "rebuild", ["state"], sqlite_where=sqlite, postgresql_where=postgresql)
    op.create_index("ix_rebuild_newest", "rebuild", ["image_id"], sqlite_where=sqlite, postgresql_where=postgresql)
