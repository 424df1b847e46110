"""Recorded figures: CSV files of pairs and of series, with every problem of a file at once."""

from __future__ import annotations

import csv
import itertools
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from farm.errors import ConfigurationError, Problem

PAIR_COLUMNS = ("case_id", "pair", "base", "head")
SERIES_COLUMNS = ("series_id", "index", "value")
SHOWN = 50


@dataclass
class Figures:
    """The rows of one case or series, in the order of ``positions``.

    ``values`` has shape (rows, columns): base and head of a pair, or the value of a series.
    """

    columns: int
    _positions: array[int] = field(default_factory=lambda: array("q"))
    _values: array[float] = field(default_factory=lambda: array("d"))
    _lines: array[int] = field(default_factory=lambda: array("q"))

    def append(self, position: int, values: Sequence[float], line: int) -> None:
        self._positions.append(position)
        self._values.extend(values)
        self._lines.append(line)

    @property
    def positions(self) -> NDArray[np.int64]:
        return np.sort(np.frombuffer(self._positions, np.int64))

    @property
    def values(self) -> NDArray[np.float64]:
        order = np.argsort(np.frombuffer(self._positions, np.int64), kind="stable")
        return np.frombuffer(self._values, np.float64).reshape(-1, self.columns)[order]

    def repeated(self) -> list[tuple[int, int]]:
        """Return position and line of each row whose position an earlier line has."""
        positions = np.frombuffer(self._positions, np.int64)
        _, first = np.unique(positions, return_index=True)
        again = np.setdiff1d(np.arange(positions.size), first)
        return [(self._positions[i], self._lines[i]) for i in again]


def read_pairs(path: Path) -> dict[str, Figures]:
    """Read recorded pairs: columns ``case_id,pair,base,head``, in any order of columns and rows.

    Raises ConfigurationError that names every row which is no pair of positive numbers, and every
    pair that comes twice.
    """
    return _read(path, PAIR_COLUMNS)


def read_series(path: Path) -> dict[str, Figures]:
    """Read recorded series: columns ``series_id,index,value``; raises as ``read_pairs`` does."""
    return _read(path, SERIES_COLUMNS)


def _read(path: Path, columns: Sequence[str]) -> dict[str, Figures]:
    problems: list[Problem] = []
    found: dict[str, Figures] = {}
    for line, row in _rows(path, columns):
        try:
            name, position, values = _figures(row, columns)
        except ValueError as error:
            problems.append(Problem(str(path), f"line {line}", *error.args))
        else:
            found.setdefault(name, Figures(len(values))).append(position, values, line)
    for name, figures in found.items():
        problems.extend(
            Problem(
                str(path),
                f"line {line}",
                f"{columns[1]} {position} of {name!r} comes twice",
                "keep one of the rows",
            )
            for position, line in figures.repeated()
        )
    if not found and not problems:
        problems.append(Problem(str(path), "line 2", "no rows", "add what is to be judged"))
    if problems:
        raise ConfigurationError(_shortened(problems))
    return found


def _figures(row: Sequence[str], columns: Sequence[str]) -> tuple[str, int, list[float]]:
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} fields", f"give {len(columns)}: {','.join(columns)}")
    name, position, *numbers = row
    if not name:
        raise ValueError(f"{columns[0]} is empty", "name it")
    try:
        place = int(position)
    except ValueError:
        raise ValueError(f"{columns[1]} {position!r} is no integer", "number the rows") from None
    if not -(2**63) <= place < 2**63:
        raise ValueError(f"{columns[1]} {position} is out of range", "number from 0")
    values = [_positive(text, column) for text, column in zip(numbers, columns[2:], strict=True)]
    return name, place, values


def _positive(text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} {text!r} is no number", "leave the row out") from None
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{column} {text} is not positive and finite", "leave the row out")
    return value


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields, in the order of ``columns``, of each row but the header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            order = _order(path, header, columns)
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
