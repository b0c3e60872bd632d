"""What Koji knows: the binary RPMs of changes, the pull specs of image builds.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("change", sa.Column("rpms", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("image_build", sa.Column("tags", sa.JSON(), server_default="[]", nullable=False))
