"""Store records of a file: JSON lines (a spool, another farm's export) or llama-bench JSON."""  # noqa: N999  named for the command

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import ValidationError

from db import store
from db.engine import open_database
from farm import inventory, llama_import
from farm.errors import ConfigurationError, Problem
from worker.record import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    parser.add_argument("--db", help="database file (default: as the inventory says)")
    parser.add_argument("--inventory", type=Path, default=inventory.FILE)


def main(args: argparse.Namespace) -> int:
    records = _read(args.file)
    engine = open_database(args.db or inventory.load(args.inventory).database)
    new = 0
    for record in records:
        store.record_run(engine, record.job.run, "imported", record.started, [record.job])
        new += store.record_result(engine, record)
    noun = "record" if new == 1 else "records"
    print(f"{args.file}: {new} {noun} stored, {len(records) - new} known before")
    return 0


def _read(path: Path) -> list[Record]:
    """Return every record of a file; raises ConfigurationError naming each line that is none."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([_problem(path, "file", str(error))]) from error
    measured = llama_import.records(path, text)
    if measured is not None:
        return measured
    records, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            records.append(Record.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"no record: {'.'.join(str(step) for step in first['loc'])}: {first['msg']}"
            problems.append(_problem(path, f"line {number}", what))
    if problems:
        raise ConfigurationError(problems)
    return records


def _problem(path: Path, place: str, what: str) -> Problem:
    return Problem(str(path), place, what, "give a file of records as JSON lines")
