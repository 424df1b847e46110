"""Find change points in recorded series.

The CSV has the columns series_id, index and value. For series of the database see farm nightly.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from farm.detect import SHORTEST, ChangePoint, change_points
from farm.recorded import Figures, read_series
from farm.table import aligned, percent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each")
    parser.add_argument("--lower-is-better", action="store_true", help="e.g. seconds or bytes")


def main(args: argparse.Namespace) -> int:
    found = [
        (name, int(figures.positions[change.position]), change)
        for name, figures in read_series(args.csv).items()
        for change in _changes(name, figures)
    ]
    if args.json:
        for name, index, change in found:
            document = {
                "series_id": name,
                "index": index,
                "effect": change.effect,
                "p": change.p,
            }
            print(json.dumps(document))
    else:
        rows = [(name, str(i), percent(c.effect), f"{c.p:.2g}") for name, i, c in found]
        print(aligned(("series", "index", "effect", "p"), rows))
    sign = 1 if args.lower_is_better else -1
    return int(any(sign * change.effect > 0 for _, _, change in found))


def _changes(name: str, figures: Figures) -> list[ChangePoint]:
    values = figures.values[:, 0]
    if values.size < 2 * SHORTEST:
        needed = f"a change point needs {2 * SHORTEST}"
        print(f"warning: {name!r}: {values.size} points; {needed}", file=sys.stderr)
    return change_points(values)
