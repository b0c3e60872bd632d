"""What each rebuild was built from, and the source builds that its reasons compared.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cause", sa.Column("compared", sa.String(), server_default="", nullable=False))
    op.add_column("rebuild", sa.Column("source", sa.String(length=64), server_default="", nullable=False))
