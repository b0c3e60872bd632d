"""External parents: what registries have under their pull specs, and what is in it; why a cause may come in anyway.

Revision ID: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "external_image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("spec", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("offered", sa.String(), nullable=False),
        sa.Column("trouble", sa.String(), nullable=False),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_image")),
        sa.UniqueConstraint("spec", name=op.f("uq_external_image_spec")),
    )
    op.create_table(
        "external_manifest",
        sa.Column("external_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("manifest_id", sa.Integer(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["external_id"], ["external_image.id"], name=op.f("fk_external_manifest_external_id_external_image")
        ),
        sa.ForeignKeyConstraint(
            ["manifest_id"], ["manifest.id"], name=op.f("fk_external_manifest_manifest_id_manifest")
        ),
        sa.PrimaryKeyConstraint("external_id", "digest", "platform", name=op.f("pk_external_manifest")),
    )
    op.create_index(op.f("ix_external_manifest_manifest_id"), "external_manifest", ["manifest_id"])
    op.add_column("cause", sa.Column("upgrades", sa.String(), nullable=False, server_default=""))
