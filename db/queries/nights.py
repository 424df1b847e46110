"""What happened lately: hosts as they were last seen, and records that do not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select, text

from db.models import Cell, Record, Run
from db.validity import spoiled
from worker.machine.reasons import REASONS, Reason
from worker.record import Record as WireRecord

MOST_TROUBLES = 500  # that are read unless asked otherwise


@dataclass(frozen=True)
class HostState:
    """A host as its last record describes it; ``not_ready`` holds what kept it from being ready."""

    host: str
    device: str
    record: int
    started: float
    status: str
    invalid: tuple[Reason, ...]
    not_ready: tuple[Reason, ...] | None
    facts: dict[str, Any]


def state_of(number: int, document: str) -> HostState:
    """Return a host as its record of this number describes it."""
    record = WireRecord.model_validate_json(document)
    after = record.environment_after.facts or record.environment.facts
    return HostState(
        record.place,
        record.environment.device,
        number,
        record.started,
        record.status,
        record.invalid,
        _not_ready(record),
        dict(after),
    )


def _not_ready(record: WireRecord) -> tuple[Reason, ...] | None:
    """Return what was left when the host had waited to cool down, None if it does not wait."""
    match record.details.get("not_ready"):
        case list(reasons):
            return REASONS.validate_python(reasons)
    return None


@dataclass(frozen=True)
class Trouble:
    """A record with figures that do not count: it failed, or reasons spoiled them.

    ``reasons`` are empty for one that failed; ``why`` says in words what either was.
    """

    record: int
    run: str
    host: str
    device: str
    started: float
    status: str
    benchmark: str
    cache: str | None
    context: int | None
    why: str
    reasons: tuple[Reason, ...] = ()


def troubles(engine: Engine, since: float = 0.0, limit: int = MOST_TROUBLES) -> tuple[Trouble, ...]:
    """Return this farm's records with figures that do not count, the newest first."""
    query = (
        select(
            Record.id.label("record"),
            Record.run_id.label("run"),
            Record.host,
            Record.device,
            Record.started,
            Record.status,
            Cell.benchmark,
            Cell.cache,
            Cell.context,
            func.json_extract(Record.document, "$.failure.message").label("failure"),
            Record.invalid,
        )
        .join(Cell, Cell.id == Record.cell_id)
        .join(Run, Run.id == Record.run_id)
        .where(Run.origin.is_(None))
        # Written as in the index of these records, or SQLite would read all of them.
        .where(text("(record.status = 'failed' OR record.invalid != '[]')"))
        .where((Record.status == "failed") | spoiled())
        .where(Record.started >= since)
        .order_by(Record.started.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return tuple(_trouble(**row) for row in connection.execute(query).mappings())


def _trouble(*, failure: str | None, invalid: list[Any], **row: Any) -> Trouble:
    if failure is not None:
        return Trouble(**row, why=failure)
    reasons = REASONS.validate_python(invalid)
    return Trouble(**row, why="; ".join(one.sentence for one in reasons), reasons=reasons)
