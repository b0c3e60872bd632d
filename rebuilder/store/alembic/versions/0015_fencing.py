"""Which publisher acts, and a random number in an SQLite file, by which it is known from any other.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    lease = sa.table(
        "lease", sa.column("role", sa.String), sa.column("owner", sa.String), sa.column("epoch", sa.BigInteger),
        sa.column("renewals", sa.BigInteger), sa.column("expires_at", sa.Double),
    )  # fmt: skip
    op.bulk_insert(lease, [{"role": "publisher", "owner": "", "epoch": 0, "renewals": 0, "expires_at": 0.0}])
    if op.get_context().dialect.name == "sqlite":
        op.execute(f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}")
