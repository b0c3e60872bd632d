"""Each attempt's build by the builder's name of it, and its log.

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("ref", "log"):
        op.add_column("transition", sa.Column(name, sa.String(), server_default="", nullable=False))
