"""Where a record goes when the database cannot take it: nothing measured is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

from db.engine import DatabaseError, Engine
from db.store import record_result
from farm.errors import FarmError
from worker.record import Record


def store(engine: Engine, record: Record, folder: Path) -> None:
    """Store a record; raises FarmError, with the record kept in a file, if the database cannot."""
    try:
        record_result(engine, record)
    except DatabaseError as error:
        path = keep(record, folder)
        raise FarmError(
            f"{error}\n{path}: holds what was measured; later: farm import --own {path}"
        ) from error


def keep(record: Record, folder: Path) -> Path:
    """Append a record to the run's spool file and return that file.

    The system's temporary folder serves if ``folder`` cannot; raises FarmError, with the record in
    it, if neither can.
    """
    document = record.model_dump_json() + "\n"
    for place in (folder, Path(tempfile.gettempdir())):
        path = place / f"{record.job.run}.jsonl"
        try:
            place.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(document)
        except OSError:
            continue
        return path
    raise FarmError(f"no place to keep this record; store it by hand: {document}")
