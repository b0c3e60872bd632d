"""What status is answered from: indexes, what counts for an image, tallies, heartbeats; and tokens.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tally",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name=op.f("pk_tally")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("loop", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("every", sa.Double(), nullable=False),
        sa.Column("trouble", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("loop", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("name", name=op.f("uq_token_name")),
        sa.UniqueConstraint("digest", name=op.f("uq_token_digest")),
    )
    op.add_column("rebuild", sa.Column("superseded", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute(
        "UPDATE rebuild SET superseded = (1 = 1) "
        "WHERE id NOT IN (SELECT max(newest.id) FROM rebuild AS newest GROUP BY newest.image_id)"
    )
    op.drop_index("ix_rebuild_image_id", "rebuild")
    op.create_index("ix_rebuild_image", "rebuild", ["image_id", "id"])
    op.create_index("ix_rebuild_newest_in_state", "rebuild", ["state", "id"])
    op.create_index("ix_rebuild_severity", "rebuild", ["severity", "id"])
    op.create_index("ix_rebuild_created", "rebuild", ["created_at"])
    op.create_index("ix_rebuild_build", "rebuild", ["build_id"])
    for name, column in (("ix_rebuild_current", "state"), ("ix_rebuild_newest", "image_id")):
        op.create_index(  # SQLite only uses an index whose condition it is asked by
            name, "rebuild", [column], sqlite_where=sa.text("superseded = 0"),
            postgresql_where=sa.text("NOT superseded"),
        )  # fmt: skip
    op.create_index("ix_message_state", "message", ["state", "seq"])
    op.create_index("ix_change_update", "change", ["update"])
    op.create_index("ix_cause_change", "cause", ["change_id", "rebuild_id"])
    op.create_index("ix_image_build_image", "image_build", ["image_id", "id"])
    for name, table, label, counted in (
        ("message", "message", "state", "state <> 'new'"),
        ("step", "transition", "event", "1 = 1"),
        ("ended", "transition", "state", "state IN ('succeeded', 'failed', 'blocked', 'unneeded', 'canceled')"),
    ):
        op.execute(
            f"INSERT INTO tally (name, label, count) SELECT '{name}', {label}, count(*) FROM {table} "
            f"WHERE {counted} GROUP BY {label}"
        )
