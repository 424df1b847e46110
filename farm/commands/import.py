"""Store what others measured or published: records, a bundle, llama-bench JSON, or a CSV table."""  # noqa: N999  named for the command

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine

from db import published, store
from db.engine import open_database
from db.published import PublishedError
from farm.commands._arguments import add_database, add_inventory
from farm.errors import ConfigurationError, FarmError, Problem
from farm.exchange import bundle, llama_bench, origin, untrusted
from farm.exchange.untrusted import UntrustedError
from farm.hosts.bootstrap import harness_hash
from farm.plan import inventory
from worker.record import Record

LARGEST_FILE = 2**30  # bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--origin",
        help="who measured it: named in its hosts and devices (default: the file's name)",
    )
    whose.add_argument(
        "--own", action="store_true", help="this farm's own records: they join its series"
    )
    add_database(parser)
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    database = args.db or inventory.load(args.inventory).database
    if args.file.suffix.lower() == ".csv":
        return _import_table(args.file, database)
    name = _origin(args)
    if bundle.is_bundle(args.file):
        return _import_bundle(args.file, database, name)
    records = _records(args.file, _content(args.file))
    stamped = [origin.stamped(record, name) for record in records] if name else records
    return _store(args.file, open_database(database), stamped, name)


def _records(path: Path, content: bytes) -> list[Record]:
    """Return the records of JSON lines, or of what llama-bench wrote."""
    of_llama = llama_bench.records(path, content.decode(errors="replace"))
    if of_llama is None:
        return bundle.read_lines(path, "file", content)
    try:
        for record in of_llama:
            untrusted.check(record)
    except UntrustedError as error:
        raise ConfigurationError([Problem(str(path), "file", str(error), error.remedy)]) from error
    return of_llama


def _origin(args: argparse.Namespace) -> str | None:
    """Return who measured, None for this farm."""
    if args.own:
        return None
    name: str = args.origin or origin.of_file(args.file)
    if not origin.ORIGIN.fullmatch(name):
        raise FarmError(f"--origin {name!r}: take up to 40 letters, digits, dots and dashes")
    return name


def _import_bundle(path: Path, database: str, name: str | None) -> int:
    found = bundle.read(path)
    said, ours = found.manifest, harness_hash()
    for build, report in said.conformance.items():
        failed = ", ".join((*report.codec_failures, *report.attention_failures)) or report.unknown
        if failed:
            print(f"{path}: conformance of build {build}: {failed}", file=sys.stderr)
    if said.harness != ours:
        other = f"{path}: measured by another harness ({said.harness}, here {ours})"
        print(f"{other}: compare with care", file=sys.stderr)
    records = found.records
    if name:
        records = [origin.stamped(record, name, said.harness) for record in records]
    return _store(path, open_database(database), records, name)


def _store(path: Path, engine: Engine, records: Sequence[Record], name: str | None) -> int:
    new = store.import_records(engine, records, name)
    noun = "record" if new == 1 else "records"
    print(f"{path}: {new} {noun} stored, {len(records) - new} known before")
    if name:
        hosts = ", ".join(sorted({record.place for record in records}))
        note = f"measured elsewhere, and named so: hosts {hosts}, devices '... (from {name})'"
        print(f"{note}; of this farm itself: farm import --own", file=sys.stderr)
    return 0


def _import_table(path: Path, database: str) -> int:
    """Store a table of published figures under the suite that the file is named for."""
    if path.stem in published.suites():
        problem = f"the table {path.stem} comes with the farm"
        raise ConfigurationError([Problem(str(path), "name", problem, "name the file otherwise")])
    try:
        figures = published.parse(path.stem, _content(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"not UTF-8: {error.reason}") from error
    except PublishedError as error:
        problems = [Problem(str(path), f.place, f.problem, f.remedy) for f in error.faults]
        raise ConfigurationError(problems[: bundle.MOST_PROBLEMS]) from error
    with open_database(database).begin() as connection:
        new = published.replace(connection, path.stem, figures)
    print(f"{path}: {new} published figures stored, {len(figures) - new} known before")
    return 0


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise _unreadable(path, "is no file")
        if path.stat().st_size > LARGEST_FILE:
            raise _unreadable(path, f"larger than {LARGEST_FILE} bytes")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _unreadable(path: Path, what: str) -> ConfigurationError:
    remedy = "give records as JSON lines, a bundle, or a CSV table of published figures"
    return ConfigurationError([Problem(str(path), "file", what, remedy)])
