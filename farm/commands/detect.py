"""Find change points in the stored series, or in recorded ones.

The CSV has the columns series_id, index and value, or an index and a column for each series. The
index of a stored series is the number of a record. No gate is asked; that is what farm nightly
does.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from db.engine import open_database
from farm.commands._arguments import add_database, add_direction, add_inventory
from farm.errors import printable, shortened
from farm.exchange.csv_figures import Figures, read_series
from farm.exchange.direction import direction
from farm.exchange.foreign_series import read_foreign
from farm.exchange.stored_figures import stored_series
from farm.judge.change_points import FEWEST, ChangePoint, SlowChange, changes
from farm.plan import inventory
from farm.report.table import aligned, percent


@dataclass(frozen=True)
class Found:
    """A change of a series: where the new level begins, or from where to where it was slow."""

    series: str
    index: str | int
    change: ChangePoint | SlowChange
    better: str
    until: str | int = ""
    points: int = 0

    @property
    def worse(self) -> bool:
        return self.change.shift > 0 if self.better == "lower" else self.change.shift < 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--csv", type=Path, metavar="FILE", help="recorded series")
    source.add_argument(
        "--of",
        type=Path,
        metavar="PATH",
        help="github-action-benchmark's data.js, the folder of asv's results, or Bencher's JSON",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each")
    add_direction(parser)
    add_database(parser)
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    series, told = _series(args)
    for warning in shortened(_too_short(series), "series are too short"):
        print(f"warning: {warning}", file=sys.stderr)
    found = [change for name, figures in series.items() for change in _changes(name, figures)]
    text = _lines(found) if args.json else _table(found)
    print(text, end="\n" if text else "")
    if told and any(figures.positions.size >= FEWEST for figures in series.values()):
        print(told, file=sys.stderr if args.json else sys.stdout)
    return int(any(change.worse for change in found))


def _series(args: argparse.Namespace) -> tuple[dict[str, Figures], str]:
    """Return the series, and what is to be said of their direction."""
    if args.csv is None and args.of is None:
        return stored_series(open_database(args.db or inventory.load(args.inventory).database)), ""
    series = read_series(args.csv) if args.csv else read_foreign(args.of)
    open_ones = [name for name, figures in series.items() if figures.better is None or args.better]
    if not open_ones:
        return series, ""
    names = [text for name in open_ones for text in (name, series[name].unit)]
    found = direction(args.better, names)
    directed = {name: replace(series[name], better=found.better) for name in open_ones}
    return series | directed, str(found)


def _changes(name: str, figures: Figures) -> list[Found]:
    seen, better = changes(figures.values[:, 0]), figures.better or "higher"
    steps = [Found(name, figures.label(one.position), one, better) for one in seen.steps]
    slow = [
        Found(
            name,
            figures.label(one.start),
            one,
            better,
            figures.label(one.end),
            one.end - one.start + 1,
        )
        for one in seen.slow
    ]
    return [*steps, *slow]


def _too_short(series: Mapping[str, Figures]) -> list[str]:
    return [
        f"{name!r}: {figures.positions.size} points; a change point needs {FEWEST}"
        for name, figures in series.items()
        if figures.positions.size < FEWEST
    ]


def _lines(found: Sequence[Found]) -> str:
    return "\n".join(json.dumps(_document(one)) for one in found)


def _document(one: Found) -> dict[str, str | int | float | None]:
    effect = one.change.effect
    slow: dict[str, str | int | float | None] = (
        {"until": one.until, "points": one.points} if one.points else {}
    )
    return {
        "series_id": one.series,
        "index": one.index,
        "effect": effect if math.isfinite(effect) else None,
        "p": one.change.p,
    } | slow


def _table(found: Sequence[Found]) -> str:
    steps = [one for one in found if not one.points]
    rows = [(o.series, str(o.index), percent(o.change.effect), f"{o.change.p:.2g}") for o in steps]
    slow = [
        f"{printable(one.series)}: {percent(one.change.effect)} over {one.points} points, "
        f"no single step ({one.index} to {one.until})"
        for one in found
        if one.points
    ]
    return "\n".join([aligned(("series", "index", "effect", "p"), rows), *slow])
