"""Published figures: reference points beside what was measured here."""

from __future__ import annotations

from sqlalchemy import Engine, select

from db import models
from db.published import COLUMNS, Published


def published(engine: Engine) -> tuple[Published, ...]:
    """Return every published figure, tables in the order of their suites' names."""
    table = models.Published
    columns = [getattr(table, name) for name in COLUMNS]
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).order_by(table.suite, table.id))
        return tuple(Published(*row) for row in rows)
