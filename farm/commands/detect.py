"""Find change points in the stored series, or in recorded ones.

The CSV has the columns series_id, index and value. The index of a stored series is the number of
a record. No gate is asked; that is what farm nightly does.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from db.engine import open_database
from farm.commands._arguments import add_database, add_inventory
from farm.errors import shortened
from farm.exchange.csv_figures import Figures, read_series
from farm.exchange.stored_figures import stored_series
from farm.judge.change_points import SHORTEST, ChangePoint, change_points
from farm.plan import inventory
from farm.report.table import aligned, percent

#: The series, its index where the new level begins, and the change there.
Found = tuple[str, int, ChangePoint]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, metavar="FILE", help="recorded series")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each")
    parser.add_argument(
        "--lower-is-better", action="store_true", help="of a CSV: e.g. seconds or bytes"
    )
    add_database(parser)
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    known = _recorded(args) if args.csv else _stored(args)
    series = {name: figures for name, (figures, _) in known.items()}
    for warning in shortened(_too_short(series), "series are too short"):
        print(f"warning: {warning}", file=sys.stderr)
    found = [
        (name, int(figures.positions[change.position]), change)
        for name, figures in series.items()
        for change in change_points(figures.values[:, 0])
    ]
    text = _lines(found) if args.json else _table(found)
    print(text, end="\n" if text else "")
    return int(any(_is_worse(change, known[name][1]) for name, _, change in found))


def _recorded(args: argparse.Namespace) -> dict[str, tuple[Figures, str]]:
    better = "lower" if args.lower_is_better else "higher"
    return {name: (figures, better) for name, figures in read_series(args.csv).items()}


def _stored(args: argparse.Namespace) -> dict[str, tuple[Figures, str]]:
    database = args.db or inventory.load(args.inventory).database
    return stored_series(open_database(database))


def _is_worse(change: ChangePoint, better: str) -> bool:
    return change.shift > 0 if better == "lower" else change.shift < 0


def _too_short(series: Mapping[str, Figures]) -> list[str]:
    return [
        f"{name!r}: {figures.positions.size} points; a change point needs {2 * SHORTEST}"
        for name, figures in series.items()
        if figures.positions.size < 2 * SHORTEST
    ]


def _lines(found: Sequence[Found]) -> str:
    return "\n".join(
        json.dumps(
            {
                "series_id": name,
                "index": index,
                "effect": change.effect if math.isfinite(change.effect) else None,
                "p": change.p,
            }
        )
        for name, index, change in found
    )


def _table(found: Sequence[Found]) -> str:
    rows = [(name, str(i), percent(c.effect), f"{c.p:.2g}") for name, i, c in found]
    return aligned(("series", "index", "effect", "p"), rows)
