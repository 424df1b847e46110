"""Series that other tools have recorded: github-action-benchmark, asv and Bencher."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from farm.errors import ConfigurationError, Problem
from farm.exchange.cells import moment
from farm.exchange.csv_figures import Figures
from farm.exchange.direction import Better

SCRIPT = "window.BENCHMARK_DATA ="
#: Tools of github-action-benchmark that measure rates; all the others measure times.
RATES = frozenset({"benchmarkjs", "pytest", "customBiggerIsBetter"})
#: Measures that Bencher brings along.
BENCHER: dict[str, Better] = {"latency": "lower", "throughput": "higher", "file-size": "lower"}
BENCHMARKS = "benchmarks.json"  # of asv: what is measured, in which unit


@dataclass(frozen=True)
class Point:
    """One figure of a series: when it was measured (sorts), and the commit or date it is of."""

    series: str
    when: float
    label: str
    value: float
    unit: str
    better: Better | None


def read_foreign(path: Path) -> dict[str, Figures]:
    """Return the series of a ``data.js``, a folder of asv's results, or Bencher's JSON.

    Figures that are no positive number are left out, as asv's of benchmarks that failed. Raises
    ConfigurationError for anything else than these three.
    """
    try:
        points = list(_points(path))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise _unknown(path, f"not as these tools write it ({error!r})") from error
    known = [point for point in points if point.value > 0]
    if not known:
        raise _unknown(path, "no figures")
    groups: dict[str, list[Point]] = {}
    for point in known:
        groups.setdefault(point.series, []).append(point)
    return {name: _figures(some) for name, some in groups.items()}


def _points(path: Path) -> Iterator[Point]:
    if path.is_dir():
        return _asv(path)
    text = _text(path)
    script, _, rest = text.partition(SCRIPT)
    if rest and not script.strip():
        return _github(_json(path, rest.strip().removesuffix(";")))
    document = _json(path, text)
    if isinstance(document, dict) and "results" in document:
        return _bencher(document)
    if isinstance(document, dict) and "entries" in document:
        return _github(document)
    raise _unknown(path, "neither of github-action-benchmark nor of asv or Bencher")


def _github(document: Mapping[str, Any]) -> Iterator[Point]:
    for suite, runs in document["entries"].items():
        for run in runs:
            better: Better = "higher" if run["tool"] in RATES else "lower"
            for bench in run["benches"]:
                yield Point(
                    f"{suite}: {bench['name']}",
                    float(run["date"]),
                    run["commit"]["id"],
                    _number(bench["value"]),
                    str(bench.get("unit", "")),
                    better,
                )


def _asv(folder: Path) -> Iterator[Point]:
    units = _json(folder / BENCHMARKS, _text(folder / BENCHMARKS))
    for path in sorted(folder.glob("*/*.json")):
        if path.name == "machine.json":
            continue
        run = _json(path, _text(path))
        for name, row in run["results"].items():
            about = units.get(name) or {}
            unit = about.get("unit", "") if isinstance(about, dict) else ""
            for which, value in _of_parameters(row, run.get("result_columns", ["result"])):
                series = f"{path.parent.name}: {run['env_name']}: {name}{which}"
                yield Point(series, run["date"], run["commit_hash"], _number(value), unit, "lower")


def _of_parameters(row: Any, columns: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield each combination of a benchmark's parameters, as ``(10, 'a')``, and its figure."""
    if isinstance(row, dict):  # asv before 0.4
        cells = row
    else:
        cells = dict(zip(columns, row if isinstance(row, list) else [row], strict=False))
    values = cells.get("result")
    if not isinstance(values, list):
        yield "", values
        return
    names = [""]
    for choices in cells.get("params") or []:
        names = [f"{name}, {choice}" if name else choice for name in names for choice in choices]
    for name, value in zip(names, values, strict=True):
        yield f"({name})" if name else "", value


def _bencher(document: Mapping[str, Any]) -> Iterator[Point]:
    for one in document["results"]:
        measure = one["measure"]
        series = ": ".join(
            one[part]["name"] for part in ("branch", "testbed", "benchmark", "measure")
        )
        for metric in one["metrics"]:
            version = metric["version"]
            when = moment(metric["start_time"])
            if when is None:
                raise KeyError("start_time")
            yield Point(
                series,
                when,
                version.get("hash") or metric["start_time"],
                _number(metric["metric"]["value"]),
                measure.get("units", ""),
                BENCHER.get(measure["slug"]),
            )


def _figures(points: list[Point]) -> Figures:
    """Return a series in the order of time, one figure a commit: the median of its own."""
    groups: dict[tuple[float, str], list[float]] = {}
    for point in points:
        groups.setdefault((point.when, point.label), []).append(point.value)
    order = sorted(groups)
    return Figures(
        np.arange(len(order)),
        np.array([[median(groups[key])] for key in order]),
        {place: label for place, (_, label) in enumerate(order)},
        points[0].unit,
        points[0].better,
    )


def _number(value: Any) -> float:
    """Return a figure; 0, which is left out, for none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) else 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unknown(path, str(error)) from error


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unknown(path, f"no JSON ({error})") from error


def _unknown(path: Path, problem: str) -> ConfigurationError:
    remedy = (
        "give a data.js, the folder of asv's results, or what bencher perf --format json writes"
    )
    return ConfigurationError([Problem(str(path), "file", problem, remedy)])
