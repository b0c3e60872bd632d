"""What was read of an inventory is kept until all of it is there.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "read_manifest",
        sa.Column("ident", sa.String(), nullable=False),
        sa.Column("manifest_id", sa.Integer(), nullable=False),
        sa.Column("read_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["manifest_id"], ["manifest.id"], name=op.f("fk_read_manifest_manifest_id_manifest")),
        sa.PrimaryKeyConstraint("ident", name=op.f("pk_read_manifest")),
    )
