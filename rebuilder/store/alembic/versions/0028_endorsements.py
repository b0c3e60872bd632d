"""What builds have in registries beside them: bills of materials and signatures.

Revision ID: 0028
Revises: 0027
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image_build", sa.Column("endorsements", sa.JSON(), nullable=False, server_default="[]"))
