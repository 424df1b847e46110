"""Records and samples as files: JSON lines, CSV, Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from db import queries
from db.engine import Engine
from db.queries import COLUMNS
from farm.errors import FarmError

ROWS = 50_000  # of one Parquet row group


def json_lines(path: Path, engine: Engine, runs: Collection[str]) -> int:
    """Write each record as a line of JSON, as it was stored; return how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for document in queries.documents(engine, runs):
            file.write(f"{document}\n")
            count += 1
    return count


def comma_separated(path: Path, engine: Engine, runs: Collection[str]) -> int:
    """Write a row for each sample, with a header; return how many."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in queries.exported(engine, runs):
            writer.writerow(row)
            count += 1
    return count


def parquet(path: Path, engine: Engine, runs: Collection[str]) -> int:
    """Write a row for each sample; return how many. Raises FarmError without pyarrow."""
    try:
        import pyarrow as pa  # noqa: PLC0415  slow to import, and for this format alone
        from pyarrow.parquet import ParquetWriter  # noqa: PLC0415  likewise
    except ImportError as error:
        raise FarmError(f"{path}: Parquet needs pyarrow; pip install pyarrow") from error
    types = {
        "record": pa.int64(),
        "started": pa.float64(),
        "value": pa.float64(),
        "context": pa.int64(),
        "trial": pa.int64(),
        "dirty": pa.bool_(),
        "warmup": pa.bool_(),
        "counts": pa.bool_(),
    }
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    count = 0
    with ParquetWriter(path, schema) as writer:
        for rows in _batches(queries.exported(engine, runs)):
            columns = [list(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True)), schema=schema))
            count += len(rows)
    return count


#: What writes a file, by the ending of its name.
FORMATS: dict[str, Callable[[Path, Engine, Collection[str]], int]] = {
    ".jsonl": json_lines,
    ".csv": comma_separated,
    ".parquet": parquet,
}


def write(path: Path, engine: Engine, runs: Collection[str]) -> int:
    """Write a file in the format of its ending, in one step; return how many lines or rows.

    Raises FarmError for an unknown ending and for a place where nothing can be written.
    """
    if path.suffix not in FORMATS:
        raise FarmError(f"{path}: unknown format {path.suffix!r}; end it with {', '.join(FORMATS)}")
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        count = FORMATS[path.suffix](unfinished, engine, runs)
        unfinished.replace(path)
    except OSError as error:
        raise FarmError(f"{path}: {error.strerror or error}; choose another place") from error
    return count


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(islice(rows, ROWS)):
        yield batch
