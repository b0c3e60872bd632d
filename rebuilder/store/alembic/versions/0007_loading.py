"""What a manifest has is not checked row by row: that was more than half of loading millions of them.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("manifest_rpm", table_kwargs={"sqlite_with_rowid": False}) as table:
        table.drop_constraint("fk_manifest_rpm_manifest_id_manifest", type_="foreignkey")
        table.drop_constraint("fk_manifest_rpm_rpm_id_rpm", type_="foreignkey")
