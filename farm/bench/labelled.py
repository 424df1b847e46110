"""Read labelled series: ``series.csv`` and ``labels.csv`` of a folder."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from farm.bench.series import Series
from farm.exchange.csv_figures import read_series


def labelled(folder: Path) -> list[Series]:
    """Return the series of a folder; only steps labelled as actionable must be found.

    ``labels.csv`` has the columns series_id, kind, start, end and actionable; ranges of any other
    kind than a step count neither way, outliers excepted.
    """
    steps: dict[str, list[int]] = defaultdict(list)
    ignored: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            start, end = int(row["start"]), int(row["end"])
            if row["kind"] == "step" and row["actionable"] == "1":
                steps[row["series_id"]].append(start)
            elif row["kind"] != "outlier":
                ignored[row["series_id"]].append((start, end))
    return [
        Series(f.values[:, 0], np.zeros(0), tuple(steps[name]), tuple(ignored[name]), "real", 0.0)
        for name, f in read_series(folder / "series.csv").items()
    ]
