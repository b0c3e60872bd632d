"""The new digests of external parents that rebuilds are there for.

Revision ID: 0030
Revises: 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "base_cause",
        sa.Column("rebuild_id", sa.Integer(), nullable=False),
        sa.Column("spec", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["rebuild_id"], ["rebuild.id"], name=op.f("fk_base_cause_rebuild_id_rebuild")),
        sa.PrimaryKeyConstraint("rebuild_id", "spec", name=op.f("pk_base_cause")),
    )
