"""Judge recorded pairs of baseline and candidate.

The CSV has the columns case_id, pair, base and head; the looks follow the order of pair.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from farm.commands._arguments import add_direction, tolerance
from farm.errors import shortened
from farm.exchange.csv_figures import Figures, read_pairs
from farm.exchange.direction import direction
from farm.judge import verdict
from farm.judge.verdict import EXIT_CODES, LOOKS, Verdict
from farm.report.table import aligned, percent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each case")
    add_direction(parser)
    parser.add_argument("--family", action="store_true", help="judge the cases as one gate")
    parser.add_argument("--tolerance", type=tolerance, default=0.02, help="default %(default)s")


def main(args: argparse.Namespace) -> int:
    recorded = read_pairs(args.csv)
    told = direction(args.better, _names(recorded))
    better = told.better
    cases = {
        name: np.log(figures.values[:, 1]) - np.log(figures.values[:, 0])
        for name, figures in recorded.items()
    }
    if args.family:
        verdicts = verdict.judge_family(cases, better, args.tolerance)
    else:
        verdicts = {
            name: verdict.judge(changes, better, args.tolerance) for name, changes in cases.items()
        }
    print(_lines(verdicts) if args.json else _table(verdicts))
    if any(judged.outcome != "invalid" for judged in verdicts.values()):
        print(told, file=sys.stderr if args.json else sys.stdout)
    for line in shortened(_too_few(verdicts), "cases have too few"):
        print(f"error: {args.csv}: {line}", file=sys.stderr)
    return EXIT_CODES[verdict.joint(judged.outcome for judged in verdicts.values())]


def _too_few(verdicts: Mapping[str, Verdict]) -> list[str]:
    return [
        f"{name!r}: {judged.pairs} pairs; record at least {LOOKS[0].pairs}"
        for name, judged in verdicts.items()
        if judged.outcome == "invalid"
    ]


def _names(recorded: Mapping[str, Figures]) -> list[str]:
    """Return what tells a direction: the names of cases, and the units of their figures."""
    return [text for name, figures in recorded.items() for text in (name, figures.unit)]


def _lines(verdicts: Mapping[str, Verdict]) -> str:
    return "\n".join(json.dumps(_document(*item)) for item in verdicts.items())


def _document(name: str, judged: Verdict) -> dict[str, str | int | float | None]:
    figures = {key: getattr(judged, key) for key in ("effect", "low", "high", "p")}
    known = {key: value if math.isfinite(value) else None for key, value in figures.items()}
    p = known.pop("p")
    return {
        "case_id": name,
        "verdict": judged.outcome,
        **known,
        "pairs_used": judged.pairs,
        "p": p,
    }


def _table(verdicts: Mapping[str, Verdict]) -> str:
    header = ("case", "verdict", "effect", "low", "high", "pairs", "p")
    rows = [
        (
            name,
            judged.outcome,
            *(percent(share) for share in (judged.effect, judged.low, judged.high)),
            str(judged.pairs),
            f"{judged.p:.2g}",
        )
        for name, judged in verdicts.items()
    ]
    return aligned(header, rows)
