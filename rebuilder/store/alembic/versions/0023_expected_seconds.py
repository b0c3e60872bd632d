"""What each build was expected to take when it was planned, so that estimates learn from what it took.

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rebuild", sa.Column("expected", sa.Double(), nullable=True))
