"""What happened lately: hosts as they were last seen, and records that do not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, and_, func, select, text

from db.models import Cell, Record
from db.queries.validity import spoiled
from worker.machine.reasons import REASONS, Reason
from worker.record import Record as WireRecord


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


def hosts(engine: Engine) -> tuple[HostState, ...]:
    """Return every host that ever sent a record, with the facts of its last one."""
    last = select(Record.host, func.max(Record.started).label("started"))
    last_of = last.group_by(Record.host).subquery()
    query = (
        select(Record.id, Record.document)
        .join(last_of, and_(Record.host == last_of.c.host, Record.started == last_of.c.started))
        .order_by(Record.host, Record.id)
    )
    with engine.connect() as connection:
        found = {state.host: state for state in (_state(*row) for row in connection.execute(query))}
    return tuple(found.values())


def _state(number: int, document: str) -> HostState:
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


def troubles(engine: Engine, since: float = 0.0, limit: int = 500) -> tuple[Trouble, ...]:
    """Return the records with figures that do not count since a time, the newest first."""
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
