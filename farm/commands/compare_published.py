"""Print published figures beside measured ones, and flag what cannot be."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from db import beside, queries
from db.beside import Beside
from db.engine import open_database
from db.queries import Published
from farm.commands._arguments import add_database, add_inventory
from farm.errors import FarmError
from farm.plan import inventory, yaml_file
from farm.report.run import number
from farm.report.table import aligned, percent
from worker.metrics import METRICS

NOTHING = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", help="the suite that measures the published table")
    add_database(parser)
    add_inventory(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def main(args: argparse.Namespace) -> int:
    engine = open_database(args.db or inventory.load(args.inventory).database)
    everything = queries.published(engine)
    table = [row for row in everything if row.suite == args.suite]
    if not table:
        known = sorted({row.suite for row in everything})
        remedy = yaml_file.suggest(args.suite, known)
        raise FarmError(f"suite {args.suite!r}: no published figures; {remedy}")
    measured = queries.newest(engine, sorted({row.metric for row in table}))
    rows = beside.set_beside(table, measured)
    others = elsewhere(table, everything)
    if args.json:
        print(json.dumps([_document(one) for one in [*rows, *others]], indent=2))
        return 0
    print(_text(rows))
    if others:
        benchmarks = ", ".join(sorted({one.published.benchmark for one in others}))
        print(f"\nDoubtful figures of other published tables ({benchmarks}):\n\n{_text(others)}")
    if not any(one.device for one in rows):
        print(
            f"\nNothing of it was measured on these devices; on one: farm run --suite {args.suite}"
        )
    return 0


def elsewhere(table: Sequence[Published], everything: Sequence[Published]) -> list[Beside]:
    """Return the doubtful figures that other tables have of the same benchmarks, unmeasured."""
    benchmarks = {row.benchmark for row in table}
    mine = {row.suite for row in table}
    found = []
    for row in everything:
        if row.suite not in mine and row.benchmark in benchmarks:
            doubts = beside.doubts(row, [r for r in everything if r.suite == row.suite])
            if doubts:
                found.append(Beside(row, "", None, None, doubts))
    return found


def _text(rows: Sequence[Beside]) -> str:
    header = ["device", "model", "cache", "figure", "published", "measured", "difference", "flag"]
    return aligned(header, [_row(one) for one in rows])


def _row(one: Beside) -> list[str]:
    row = one.published
    place = NOTHING if row.context is None else f"{row.context}"
    return [
        one.device or row.device,
        (row.model or NOTHING).rpartition("/")[2],
        row.cache or NOTHING,
        f"{row.metric}@{place}" if row.context is not None else row.metric,
        _value(row, row.value),
        NOTHING if one.measured is None else _value(row, one.measured, bound=False),
        NOTHING if one.difference is None else percent(one.difference),
        one.flag,
    ]


def _value(row: Published, value: float, *, bound: bool = True) -> str:
    if row.kind == "ratio":
        return f"{value:.1%} of fp16"
    text = number(value, METRICS[row.metric].unit)
    return f"{row.kind} {text}" if bound and row.kind != "figure" else text


def _document(one: Beside) -> dict[str, Any]:
    document = asdict(one)
    figure: dict[str, Any] = document.pop("published")
    return figure | document
