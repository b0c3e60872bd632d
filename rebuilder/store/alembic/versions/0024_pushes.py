"""Deliveries to registries: whether a name moves, and the pull spec by digest that it was given to.

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("remote", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("delivery", sa.Column("moves", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("delivery", sa.Column("at", sa.String(), nullable=False, server_default=""))
