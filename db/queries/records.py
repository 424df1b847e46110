"""Single records: what they hold, and lists of them without their documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, RowMapping, Select, select

from db.models import Build, Cell, Record, Sample
from db.validity import spoiled
from worker.machine.reasons import REASONS, Reason
from worker.record import Record as WireRecord


@dataclass(frozen=True)
class Brief:
    """A record in a list.

    ``invalid`` holds what disturbed it; ``spoiled`` says whether figures do not count for it.
    """

    record: int
    run: str
    host: str
    device: str
    comparison_key: str
    build: str
    commit: str | None
    started: float
    status: str
    invalid: tuple[Reason, ...]
    spoiled: bool
    benchmark: str
    model: str | None
    cache: str | None
    context: int | None


def _briefs() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Record.id.label("record"),
            Record.run_id.label("run"),
            Record.host,
            Record.device,
            Record.comparison_key,
            Record.build_hash.label("build"),
            Build.commit,
            Record.started,
            Record.status,
            Record.invalid,
            spoiled().label("spoiled"),
            Cell.benchmark,
            Cell.model,
            Cell.cache,
            Cell.context,
        )
        .join(Cell, Cell.id == Record.cell_id)
        .join(Build, Build.hash == Record.build_hash)
    )


def _brief(row: RowMapping) -> Brief:
    return Brief(**{**row, "invalid": REASONS.validate_python(row["invalid"])})


def run_records(engine: Engine, run: str) -> tuple[Brief, ...]:
    """Return the records of a run, oldest first."""
    query = _briefs().where(Record.run_id == run).order_by(Record.started, Record.id)
    with engine.connect() as connection:
        return tuple(_brief(row) for row in connection.execute(query).mappings())


def record(engine: Engine, record_id: int) -> WireRecord | None:
    """Return one record, or None if there is none of that number."""
    query = select(Record.document).where(Record.id == record_id)
    with engine.connect() as connection:
        document = connection.execute(query).scalar()
    return None if document is None else WireRecord.model_validate_json(document)


def earlier_record(engine: Engine, record_id: int) -> Brief | None:
    """Return the last good record before this one of the same cell and device."""
    this = select(Record.cell_id, Record.device, Record.started).where(Record.id == record_id)
    with engine.connect() as connection:
        this_one = connection.execute(this).one_or_none()
        if this_one is None:
            return None
        query = (
            _briefs()
            .where(
                Record.cell_id == this_one.cell_id,
                Record.device == this_one.device,
                Record.started < this_one.started,
                Record.status == "ok",
            )
            .order_by(Record.started.desc(), Record.id.desc())
            .limit(1)
        )
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _brief(row)


def samples(engine: Engine, record_id: int) -> tuple[dict[str, Any], ...]:
    """Return every raw sample of a record in the order of measuring, warm-ups included."""
    query = (
        select(Sample.metric, Sample.trial, Sample.warmup, Sample.value, Sample.labels)
        .where(Sample.record_id == record_id)
        .order_by(Sample.id)
    )
    with engine.connect() as connection:
        return tuple(dict(row) for row in connection.execute(query).mappings())


def scores_by_label(
    engine: Engine, records: Sequence[int], metric: str
) -> tuple[tuple[int, dict[str, Any], float], ...]:
    """Return (record, labels, value) for each counted sample of one metric of these records."""
    query = (
        select(Sample.record_id, Sample.labels, Sample.value)
        .where(Sample.record_id.in_(records), Sample.metric == metric, Sample.warmup.is_(False))
        .order_by(Sample.id)
    )
    with engine.connect() as connection:
        return tuple((row[0], row[1], row[2]) for row in connection.execute(query))
