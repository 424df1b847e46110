"""Store what others measured or published: records, a bundle, llama-bench JSON, or a CSV table."""  # noqa: N999  named for the command

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from db import published, store
from db.engine import Engine, open_database
from db.published import PublishedError
from farm.commands._arguments import add_database, add_inventory
from farm.errors import ConfigurationError, FarmError, Problem
from farm.exchange import bundle, origin, received, untrusted
from farm.hosts.bootstrap import harness_hash
from farm.plan import inventory
from worker.record import Record


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
    parser.add_argument("--json", action="store_true", help="print what was stored as JSON")
    add_database(parser)
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    with _keeping_everything():
        return _import(args)


@contextmanager
def _keeping_everything() -> Iterator[None]:
    """Look for no garbage meanwhile: a file's records are all kept to the end, so it is in vain.

    Going through them again and again takes a fifth of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _import(args: argparse.Namespace) -> int:
    database = args.db or inventory.load(args.inventory).database
    if args.file.suffix.lower() == ".csv":
        return _import_table(args.file, database, args.json)
    name = _origin(args)
    if bundle.is_bundle(args.file):
        return _import_bundle(args.file, database, name, args.json)
    found = received.records(args.file)
    stamped = [origin.stamped(record, name) for record in found] if name else found
    return _store(args.file, open_database(database), stamped, name, args.json)


def _origin(args: argparse.Namespace) -> str | None:
    """Return who measured, None for this farm."""
    if args.own:
        return None
    name: str = args.origin or origin.of_file(args.file)
    if not origin.ORIGIN.fullmatch(name):
        raise FarmError(f"--origin {name!r}: take up to 40 letters, digits, dots and dashes")
    return name


def _import_bundle(path: Path, database: str, name: str | None, as_json: bool) -> int:  # noqa: FBT001  the user's own flag
    found = bundle.read(path)
    said, ours = found.manifest, harness_hash()
    for build, report in said.conformance.items():
        failed = ", ".join((*report.codec_failures, *report.attention_failures)) or report.unknown
        if failed:
            print(f"{path}: conformance of build {build}: {failed}", file=sys.stderr)
    if said.harness != ours:
        other = f"{path}: measured by another harness ({said.harness}, here {ours})"
        print(f"{other}: compare with care", file=sys.stderr)
    for finding in said.doctor.findings if said.doctor else ():
        if finding.state != "well":
            told = f"{path}: {finding.name}: {finding.said}"
            print(untrusted.shown(told), file=sys.stderr)
    records = found.records
    if name:
        records = [origin.stamped(record, name, said.harness) for record in records]
    return _store(path, open_database(database), records, name, as_json)


def _store(
    path: Path,
    engine: Engine,
    records: Sequence[Record],
    name: str | None,
    as_json: bool,  # noqa: FBT001  the user's own flag
) -> int:
    new = store.import_records(engine, records, name)
    _tell(path, "record" if new == 1 else "records", new, len(records), as_json)
    if name and records:
        hosts = ", ".join(sorted({record.place for record in records}))
        note = f"measured elsewhere, and named so: hosts {hosts}, devices '... (from {name})'"
        print(f"{note}; of this farm itself: farm import --own", file=sys.stderr)
    return 0


def _tell(path: Path, what: str, new: int, read: int, as_json: bool) -> None:  # noqa: FBT001  the user's own flag
    if as_json:
        print(json.dumps({"file": str(path), "stored": new, "known_before": read - new}))
    else:
        print(f"{path}: {new} {what} stored, {read - new} known before")


def _import_table(path: Path, database: str, as_json: bool) -> int:  # noqa: FBT001  the user's own flag
    """Store a table of published figures under the suite that the file is named for."""
    if path.stem in published.suites():
        problem = f"the table {path.stem} comes with the farm"
        raise ConfigurationError([Problem(str(path), "name", problem, "name the file otherwise")])
    try:
        figures = published.parse(path.stem, received.table(path))
    except PublishedError as error:
        problems = [Problem(str(path), f.place, f.problem, f.remedy) for f in error.faults]
        raise ConfigurationError(problems[: bundle.MOST_PROBLEMS]) from error
    with open_database(database).begin() as connection:
        new = published.replace(connection, path.stem, figures)
    _tell(path, "published figures", new, len(figures), as_json)
    return 0
