"""Everything, row by row, for tools of data analysis."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Engine, select

from db.models import Build, Cell, Record, Run, Sample
from worker.machine import reasons
from worker.machine.reasons import REASONS, Reason

AT_ONCE = 10_000
#: What each column of ``exported`` is read from: the record, what was measured, the sample.
SOURCES = {
    "record": Record.id,
    "run": Record.run_id,
    "suite": Run.suite,
    "origin": Run.origin,
    "host": Record.host,
    "device": Record.device,
    "comparison_key": Record.comparison_key,
    "build": Record.build_hash,
    "commit": Build.commit,
    "dirty": Build.dirty,
    "status": Record.status,
    "started": Record.started,
    "invalid": Record.invalid,
    "benchmark": Cell.benchmark,
    "model": Cell.model,
    "cache": Cell.cache,
    "context": Cell.context,
    "metric": Sample.metric,
    "value": Sample.value,
    "trial": Sample.trial,
    "warmup": Sample.warmup,
    "labels": Sample.labels,
}
COLUMNS = (*SOURCES, "counts")


def documents(engine: Engine, runs: Collection[str] = ()) -> Iterator[str]:
    """Yield the JSON of every record of some runs, of all by default, as it was stored."""
    query = select(Record.document).order_by(Record.id)
    if runs:
        query = query.where(Record.run_id.in_(runs))
    with engine.connect() as connection:
        yield from connection.execute(query, execution_options={"yield_per": AT_ONCE}).scalars()


def exported(engine: Engine, runs: Collection[str] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each sample of some runs, of all by default; see ``COLUMNS``.

    A record without samples, as of a failed job, has one row with None for the sample. ``invalid``
    are reasons in one text, empty for none; ``labels`` are JSON; ``counts`` says whether the sample
    does.
    """
    query = (
        select(*SOURCES.values())
        .join(Run, Run.id == Record.run_id)
        .join(Build, Build.hash == Record.build_hash)
        .join(Cell, Cell.id == Record.cell_id)
        .outerjoin(Sample, Sample.record_id == Record.id)
        .order_by(Record.id, Sample.id)
    )
    if runs:
        query = query.where(Record.run_id.in_(runs))
    place = COLUMNS.index("invalid")
    with engine.connect() as connection:
        for row in connection.execute(query, execution_options={"yield_per": AT_ONCE}):
            invalid = REASONS.validate_python(row.invalid)
            told = "; ".join(reason.sentence for reason in invalid)
            yield (*row[:place], told, *row[place + 1 : -1], *_of_sample(row, invalid))


def _of_sample(row: Any, invalid: tuple[Reason, ...]) -> tuple[str | None, bool | None]:
    """Return the labels of a row's sample, and whether it counts."""
    if row.metric is None:
        return None, None
    counts = row.status == "ok" and not row.warmup and reasons.counts(row.metric, invalid)
    return json.dumps(row.labels, sort_keys=True), counts
