"""Holds, approval of waves, what operators did, and measured build times"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "hold",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_hold_image_id_image")),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_hold")),
    )
    op.create_table(
        "action",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("verb", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action")),
    )
    op.create_table(
        "wave_change",
        sa.Column("wave_id", sa.Integer(), nullable=False),
        sa.Column("change_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["wave_id"], ["wave.id"], name=op.f("fk_wave_change_wave_id_wave")),
        sa.ForeignKeyConstraint(["change_id"], ["change.id"], name=op.f("fk_wave_change_change_id_change")),
        sa.PrimaryKeyConstraint("wave_id", "change_id", name=op.f("pk_wave_change")),
    )
    op.create_index("ix_wave_change_change", "wave_change", ["change_id"])
    with op.batch_alter_table("wave") as wave:
        wave.add_column(sa.Column("rule", sa.String(), server_default="", nullable=False))
        wave.add_column(sa.Column("approved_at", sa.Double(), nullable=True))
        wave.add_column(sa.Column("approved_by", sa.String(), server_default="", nullable=False))
        wave.drop_constraint(op.f("ck_wave_state"), type_="check")
        wave.create_check_constraint(op.f("ck_wave_state"), "state IN ('finished', 'planned', 'running')")
    op.add_column("image", sa.Column("measured", sa.Double(), nullable=True))
    op.add_column("cause", sa.Column("external", sa.String(), server_default="", nullable=False))
    op.execute(
        "INSERT INTO wave_change (wave_id, change_id) SELECT DISTINCT rebuild.wave_id, cause.change_id "
        "FROM cause JOIN rebuild ON rebuild.id = cause.rebuild_id"
    )
