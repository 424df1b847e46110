"""Recorded figures: CSV files of pairs and of series, with every problem of a file at once."""

from __future__ import annotations

import csv
import itertools
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from farm.errors import SHOWN, ConfigurationError, Problem

PAIR_COLUMNS = ("case_id", "pair", "base", "head")
SERIES_COLUMNS = ("series_id", "index", "value")


@dataclass(frozen=True)
class Figures:
    """The rows of one case or series, in the order of ``positions``.

    ``values`` has shape (rows, columns): base and head of a pair, or the value of a series.
    """

    positions: NDArray[np.int64]
    values: NDArray[np.float64]


def read_pairs(path: Path) -> dict[str, Figures]:
    """Read recorded pairs: columns ``case_id,pair,base,head``, in any order of columns and rows.

    Raises ConfigurationError that names every row which is no pair of positive numbers, and every
    pair that comes twice.
    """
    return _read(path, PAIR_COLUMNS)


def read_series(path: Path) -> dict[str, Figures]:
    """Read recorded series: columns ``series_id,index,value``; raises as ``read_pairs`` does."""
    return _read(path, SERIES_COLUMNS)


class _Rows:
    """The rows of a file, column by column: a million of them fit, however many series."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.problems: list[Problem] = []
        self._path = path
        self._columns = columns
        self._names: dict[str, int] = {}
        self._series, self._positions, self._lines = array("q"), array("q"), array("q")
        self._values = array("d")

    def append(self, line: int, row: Sequence[str]) -> None:
        try:
            name, position, values = _figures(row, self._columns)
        except ValueError as error:
            self.problems.append(Problem(str(self._path), f"line {line}", *error.args))
            return
        self._series.append(self._names.setdefault(name, len(self._names)))
        self._positions.append(position)
        self._lines.append(line)
        self._values.extend(values)

    def ordered(self) -> dict[str, Figures]:
        """Return the figures by name, sorted by position; notes positions that come twice."""
        series, positions = np.array(self._series), np.array(self._positions)
        order = np.lexsort((positions, series))  # stable: equal positions stay in order of lines
        series, positions = series[order], positions[order]
        values = np.array(self._values).reshape(-1, len(self._columns) - 2)[order]
        names = list(self._names)
        again = (np.diff(series) == 0) & (np.diff(positions) == 0)
        for row in sorted(np.flatnonzero(again) + 1, key=lambda row: self._lines[order[row]]):
            self._twice(self._lines[order[row]], names[series[row]], positions[row])
        cuts = np.searchsorted(series, range(len(names) + 1))
        return {
            name: Figures(positions[start:end], values[start:end])
            for name, (start, end) in zip(names, itertools.pairwise(cuts), strict=True)
        }

    def _twice(self, line: int, name: str, position: int) -> None:
        problem = f"{self._columns[1]} {position} of {name!r} comes twice"
        self.problems.append(
            Problem(str(self._path), f"line {line}", problem, "keep one of the rows")
        )


def _read(path: Path, columns: Sequence[str]) -> dict[str, Figures]:
    rows = _Rows(path, columns)
    for line, row in _rows(path, columns):
        rows.append(line, row)
    found = rows.ordered()
    if not found and not rows.problems:
        rows.problems.append(Problem(str(path), "line 2", "no rows", "add what is to be judged"))
    if rows.problems:
        raise ConfigurationError(_shortened(rows.problems))
    return found


def _figures(row: Sequence[str], columns: Sequence[str]) -> tuple[str, int, list[float]]:
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} fields", f"give {len(columns)}: {','.join(columns)}")
    name, position, *numbers = row
    if not name:
        raise ValueError(f"{columns[0]} is empty", "name it")
    place = _integer(position, columns[1])
    return name, place, [_positive(*item) for item in zip(numbers, columns[2:], strict=True)]


def _integer(text: str, column: str) -> int:
    # Tables with a gap come out of pandas with 3.0 for 3.
    whole = text.removesuffix(".0")
    try:
        place = int(whole)
    except ValueError:
        raise ValueError(f"{column} {text!r} is no integer", "number the rows") from None
    if "_" in text:
        raise ValueError(f"{column} {text!r} is no integer", "number the rows")
    if not -(2**63) <= place < 2**63:
        raise ValueError(f"{column} {text} is out of range", "number from 0")
    return place


def _positive(text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} {text!r} is no number", "leave the row out") from None
    if "_" in text:
        raise ValueError(f"{column} {text!r} is no number", "leave the row out")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{column} {text} is not positive and finite", "leave the row out")
    return value


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields, in the order of ``columns``, of each row but the header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(filter(None, reader), [])
            order = _order(path, [name.strip() for name in header], columns)
            for row in reader:
                if len(row) == len(order):
                    yield reader.line_num, [row[i].strip() for i in order]
                elif row:
                    yield reader.line_num, row
    except OSError as error:
        remedy = "give a CSV file that can be read"
        raise ConfigurationError(
            [Problem(str(path), "file", error.strerror or str(error), remedy)]
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(
            [Problem(str(path), "file", str(error), "give a CSV file in UTF-8")]
        ) from error


def _order(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
    if sorted(header) != sorted(columns):
        problem = f"columns {','.join(header) or '(none)'}"
        remedy = f"give exactly {','.join(columns)}"
        raise ConfigurationError([Problem(str(path), "line 1", problem, remedy)])
    return [header.index(name) for name in columns]


def _shortened(problems: Sequence[Problem]) -> list[Problem]:
    rest = len(problems) - SHOWN
    if rest <= 0:
        return list(problems)
    summary = Problem(problems[0].file, "file", f"{rest} more problems", "mend these first")
    return [*itertools.islice(problems, SHOWN), summary]
