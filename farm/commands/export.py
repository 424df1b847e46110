"""Write records and samples to a file for pandas, DuckDB or another farm."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from db import queries
from db.engine import open_readonly
from farm.commands._arguments import add_database, add_inventory
from farm.errors import FarmError
from farm.exchange import export
from farm.plan import inventory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        help="its ending chooses the format: .jsonl (records, for farm import), .csv or .parquet "
        "(a row for each sample); without it JSON lines go to standard output",
    )
    parser.add_argument(
        "--run", action="append", default=[], help="only this run; may be repeated (default: all)"
    )
    add_database(parser)
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    engine = open_readonly(args.db or inventory.load(args.inventory).database)
    known = {run.id for run in queries.runs(engine, limit=1_000_000)} if args.run else set()
    if unknown := [run for run in args.run if run not in known]:
        raise FarmError("\n".join(f"--run {run}: no such run" for run in unknown))
    if args.file is None:
        for document in queries.documents(engine, args.run):
            print(document)
        return 0
    count = export.write(args.file, engine, args.run)
    noun = "records" if args.file.suffix == ".jsonl" else "samples"
    print(f"{args.file}: {count} {noun}", file=sys.stderr)
    return 0
