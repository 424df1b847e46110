"""Validity of a figure, not of a record: the tables stay, the points are judged again after it."""

from __future__ import annotations

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave the tables as they are; ``db.engine`` judges the points after every upgrade."""


def downgrade() -> None:
    """Leave the tables as they are."""
