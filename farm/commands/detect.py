"""Find change points in recorded series.

The CSV has the columns series_id, index and value. For series of the database see farm nightly.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from farm.detect import SHORTEST, ChangePoint, change_points
from farm.errors import shortened
from farm.recorded import Figures, read_series
from farm.table import aligned, percent

#: The series, its index where the new level begins, and the change there.
Found = tuple[str, int, ChangePoint]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each")
    parser.add_argument("--lower-is-better", action="store_true", help="e.g. seconds or bytes")


def main(args: argparse.Namespace) -> int:
    series = read_series(args.csv)
    for warning in shortened(_too_short(series), "series are too short"):
        print(f"warning: {warning}", file=sys.stderr)
    found = [
        (name, int(figures.positions[change.position]), change)
        for name, figures in series.items()
        for change in change_points(figures.values[:, 0])
    ]
    text = _lines(found) if args.json else _table(found)
    print(text, end="\n" if text else "")
    sign = 1 if args.lower_is_better else -1
    return int(any(sign * change.shift > 0 for _, _, change in found))


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
