"""Commits with subject, author and date, and the newest record of each build."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "git_commit",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("authored", sa.Double(), nullable=False),
        sa.Column("url", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column("build", sa.Column("newest", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE build SET newest = found.newest FROM (SELECT build_hash, max(id) AS newest "
        "FROM record GROUP BY build_hash) AS found WHERE build.hash = found.build_hash"
    )


def downgrade() -> None:
    with op.batch_alter_table("build", schema=None) as batch_op:
        batch_op.drop_column("newest")
    op.drop_table("git_commit")
