"""Recorded figures: CSV files of pairs and of series, with every problem of a file at once."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from farm.errors import SHOWN, ConfigurationError, Problem
from farm.exchange import cells, csv_table
from farm.exchange.cells import FileError, RowError
from farm.exchange.csv_table import Chunk, Layout
from farm.exchange.direction import Better

PAIR_COLUMNS = ("case_id", "pair", "base", "head")
SERIES_COLUMNS = ("series_id", "index", "value")


@dataclass(frozen=True)
class Figures:
    """The rows of one case or series, in the order of ``positions``.

    ``values`` has shape (rows, columns): base and head of a pair, or the value of a series.
    ``labels`` names the positions where the file has commits or dates; ``unit`` is as written;
    ``better`` is None where the file does not say.
    """

    positions: NDArray[np.int64]
    values: NDArray[np.float64]
    labels: Mapping[int, str] = field(default_factory=dict)
    unit: str = ""
    better: Better | None = None

    def label(self, row: int) -> str | int:
        """Return the commit or date of a row, else its position."""
        position = int(self.positions[row])
        return self.labels.get(position, position)


def read_pairs(path: Path) -> dict[str, Figures]:
    """Read recorded pairs: columns ``case_id,pair,base,head``, in any order of columns and rows.

    Raises ConfigurationError that names every row which is no pair of positive numbers, and every
    pair that comes twice.
    """
    return _read(path, PAIR_COLUMNS, _Numbered())


def read_series(path: Path) -> dict[str, Figures]:
    """Read recorded series: columns ``series_id,index,value``, or an index and a column a series.

    The index may be integers, names of commits (in the order of the file) or ISO dates. Raises as
    ``read_pairs`` does.
    """
    return _read(path, SERIES_COLUMNS, _Indexed())


class _Numbered:
    """Positions that are integers."""

    labels: Mapping[int, str] = {}

    def places(self, texts: Sequence[str]) -> list[int]:
        """Convert at once; raises ValueError if any text needs a closer look."""
        if "_" in "".join(texts):
            raise ValueError
        return list(map(int, texts))

    def place(self, text: str, column: str) -> int:
        return cells.whole(text, column)


class _Indexed(_Numbered):
    """Positions that are integers, commits or dates, as the first row shows."""

    def __init__(self) -> None:
        self.labels: dict[int, str] = {}
        self._commits: dict[str, int] = {}
        self._kind: Callable[[str, str], int] | None = None

    def places(self, texts: Sequence[str]) -> list[int]:
        if self._kind is None:
            self._kind = self._chosen(texts)
        if self._kind is cells.whole:
            return super().places(texts)
        return [self._kind(text, "index") for text in texts]

    def place(self, text: str, column: str) -> int:
        return (self._kind or cells.whole)(text, column)

    def _chosen(self, texts: Sequence[str]) -> Callable[[str, str], int]:
        if texts and all(cells.moment(text) is not None for text in texts):
            digits = all(text.isdigit() for text in texts)
            return cells.whole if digits else self._date
        names = all(cells.is_hash(text) for text in texts)
        return self._commit if names and not all(text.isdigit() for text in texts) else cells.whole

    def _date(self, text: str, column: str) -> int:
        place = cells.moment(text)
        if place is None:
            raise RowError(f"{column} {text!r} is no date as the others are", "write it as theirs")
        self.labels[place] = text
        return place

    def _commit(self, text: str, column: str) -> int:
        if not cells.is_hash(text):
            raise RowError(f"{column} {text!r} names no commit as the others do", "name it")
        place = self._commits.setdefault(text, len(self._commits))
        self.labels[place] = text
        return place


class _Rows:
    """The rows of a file, column by column: a million of them fit, however many series."""

    def __init__(self, path: Path, columns: Sequence[str], index: _Numbered) -> None:
        self.problems: list[Problem] = []
        self._path, self._columns, self._index = path, columns, index
        self._names: dict[str, int] = {}
        self._series, self._positions, self._lines = array("q"), array("q"), array("q")
        self._values = array("d")
        self._units: dict[str, int] = {}
        self._of_file: dict[str, tuple[str, list[int]]] = {}  # by remedy

    def extend(self, layout: Layout, chunk: Chunk) -> None:
        if chunk.rows and all(len(row) == layout.width for row in chunk.rows):
            table = list(zip(*chunk.rows, strict=True))
            try:
                self._at_once([table[place] for place in layout.order], chunk.lines)
            except ValueError:  # one of the rows needs a closer look
                pass
            else:
                return
        for line, row in zip(chunk.lines, chunk.rows, strict=True):
            fields = [row[i].strip() for i in layout.order] if len(row) == layout.width else row
            self._append(line, fields, layout.separator)

    def _add(self, line: int, name: str, position: str, texts: Sequence[str], by: str) -> None:
        try:
            place, found = self._row(name, position, texts, by)
        except FileError as error:
            problem, remedy = error.args
            self._of_file.setdefault(remedy, (problem, []))[1].append(line)
            return
        except RowError as error:
            self.problems.append(Problem(str(self._path), f"line {line}", *error.args))
            return
        for _, unit in found:
            self._units.setdefault(unit, line)
        self._series.append(self._names.setdefault(name, len(self._names)))
        self._positions.append(place)
        self._lines.append(line)
        self._values.extend(value for value, _ in found)

    def _append(self, line: int, row: Sequence[str], by: str) -> None:
        """Add one row; notes what is wrong with it."""
        if len(row) != len(self._columns):
            fields = f"give {len(self._columns)}: {','.join(self._columns)}"
            self.problems.append(
                Problem(str(self._path), f"line {line}", f"{len(row)} fields", fields)
            )
            return
        name, position, *texts = row
        self._add(line, name, position, texts, by)

    def _row(
        self, name: str, position: str, texts: Sequence[str], by: str
    ) -> tuple[int, list[tuple[float, str]]]:
        if not name:
            raise RowError(f"{self._columns[0]} is empty", "name it")
        place = self._index.place(position, self._columns[1])
        columns = zip(texts, self._columns[2:], strict=True)
        return place, [cells.figure(text, column, by) for text, column in columns]

    def _at_once(self, columns: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
        names, positions, *texts = columns
        names = [name.strip() for name in names]
        places = self._index.places([position.strip() for position in positions])
        values = np.array([list(map(float, column)) for column in texts])
        plain = values.size and values.min() > 0 and math.isfinite(float(values.max()))
        if "" in names or not plain or any("_" in "".join(column) for column in texts):
            raise ValueError
        for name in dict.fromkeys(names):
            self._names.setdefault(name, len(self._names))
        self._units.setdefault("", lines[0])
        self._series.extend(map(self._names.__getitem__, names))
        self._positions.extend(places)
        self._lines.extend(lines)
        self._values.frombytes(values.T.tobytes())

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
        self._whole_file()
        cuts = np.searchsorted(series, range(len(names) + 1))
        unit = next(iter(self._units), "")
        return {
            name: Figures(positions[start:end], values[start:end], self._index.labels, unit)
            for name, (start, end) in zip(names, itertools.pairwise(cuts), strict=True)
        }

    def _twice(self, line: int, name: str, position: int) -> None:
        label = self._index.labels.get(position, position)
        problem = f"{self._columns[1]} {label} of {name!r} comes twice"
        self.problems.append(
            Problem(str(self._path), f"line {line}", problem, "keep one of the rows")
        )

    def _whole_file(self) -> None:
        """Note once what is wrong with how all of the file is written."""
        for remedy, (problem, lines) in self._of_file.items():
            more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
            place = f"line {lines[0]}{more}"
            self.problems.insert(0, Problem(str(self._path), place, problem, remedy))
        if len(self._units) > 1:
            names = " and ".join(repr(unit) if unit else "none" for unit in self._units)
            line = list(self._units.values())[1]
            problem = f"figures of different units: {names}"
            self.problems.insert(
                0, Problem(str(self._path), f"line {line}", problem, "write all in one unit")
            )


def _read(path: Path, columns: Sequence[str], index: _Numbered) -> dict[str, Figures]:
    rows = _Rows(path, columns, index)
    for layout, chunk in csv_table.read(path, columns):
        if layout.series:
            _unfold(rows, layout, chunk)
        else:
            rows.extend(layout, chunk)
    found = rows.ordered()
    if not found and not rows.problems:
        rows.problems.append(Problem(str(path), "line 2", "no rows", "add what is to be judged"))
    if rows.problems:
        raise ConfigurationError(_shortened(rows.problems))
    return found


def _unfold(rows: _Rows, layout: Layout, chunk: Chunk) -> None:
    """Make a row of each filled cell of a table that has a column for each series."""
    long = Layout(layout.separator, 3, (0, 1, 2))
    cells_of = list(_cells(layout, chunk))
    rows.extend(long, Chunk([line for line, _ in cells_of], [row for _, row in cells_of]))


def _cells(layout: Layout, chunk: Chunk) -> Iterator[tuple[int, list[str]]]:
    for line, row in zip(chunk.lines, chunk.rows, strict=True):
        padded = [*row, *[""] * layout.width]
        index, *values = (padded[place].strip() for place in layout.order)
        for name, value in zip(layout.series, values, strict=True):
            if value:
                yield line, [name, index, value]


def _shortened(problems: Sequence[Problem]) -> list[Problem]:
    rest = len(problems) - SHOWN
    if rest <= 0:
        return list(problems)
    summary = Problem(problems[0].file, "file", f"{rest} more problems", "mend these first")
    return [*itertools.islice(problems, SHOWN), summary]
