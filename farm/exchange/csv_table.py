"""A CSV file as people have it: which separator, which columns mean what."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from farm.errors import ConfigurationError, Problem

SEPARATORS = ",;\t|"
CHUNK = 1000  # rows converted at once: few, for Python's collector walks all that live
#: Headers of the first column of a wide table: a column a series.
INDICES = (
    "index",
    "date",
    "day",
    "night",
    "time",
    "timestamp",
    "commit",
    "hash",
    "sha",
    "revision",
)


@dataclass(frozen=True)
class Layout:
    """Where the wanted columns stand in a row of ``width`` fields.

    ``order`` are their places. In a table with a column a series the first of them is the index,
    and ``series`` names the rest.
    """

    separator: str
    width: int
    order: tuple[int, ...]
    series: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, with the number of the line that each ends on."""

    lines: list[int]
    rows: list[list[str]]


def read(path: Path, columns: Sequence[str]) -> Iterator[tuple[Layout, Chunk]]:
    """Yield the rows after the header, blank ones left out.

    Raises ConfigurationError for a file that cannot be read or has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from _chunks(path, file, columns)
    except OSError as error:
        remedy = "give a CSV file that can be read"
        raise _refused(path, "file", error.strerror or str(error), remedy) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _refused(path, "file", str(error), "give a CSV file in UTF-8") from error


def _chunks(path: Path, file: TextIO, columns: Sequence[str]) -> Iterator[tuple[Layout, Chunk]]:
    before = 0
    for first in file:
        before += 1
        if first.strip():
            break
    else:
        first = ""
    layout = _layout(path, first, columns)
    reader = csv.reader(file, delimiter=layout.separator, skipinitialspace=True)
    numbered = ((before + reader.line_num, row) for row in reader)
    while some := list(islice(numbered, CHUNK)):
        filled = [(line, row) for line, row in some if len(row) > 1 or "".join(row).strip()]
        yield layout, Chunk([line for line, _ in filled], [row for _, row in filled])


def _layout(path: Path, header: str, columns: Sequence[str]) -> Layout:
    names = {separator: _names(header, separator) for separator in SEPARATORS}
    for separator, found in names.items():
        if set(columns) <= set(found):
            _only_once(path, found, columns)
            return Layout(separator, len(found), tuple(found.index(name) for name in columns))
    separator = max(names, key=lambda one: len(names[one]))
    wide = _wide(names[separator], columns)
    if wide is None:
        told = ",".join(repr(name)[1:-1] for name in names[separator] if name) or "(none)"
        raise _refused(path, "line 1", f"columns {told}", f"give exactly {','.join(columns)}")
    _only_once(path, names[separator], wide)
    order = tuple(names[separator].index(name) for name in wide)
    return Layout(separator, len(names[separator]), order, tuple(wide[1:]))


def _wide(names: Sequence[str], columns: Sequence[str]) -> list[str] | None:
    """Return the index and the series of a table that has a column for each series."""
    if "index" not in columns or set(names) & (set(columns) - {"index"}):
        return None
    index = next((name for name in names if name.lower() in INDICES), None)
    series = [name for name in names if name and name != index]
    return [index, *series] if index and series else None


def _names(header: str, separator: str) -> list[str]:
    if not header.strip():
        return []
    row = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
    return [name.strip() for name in row]


def _only_once(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        problem = f"column {twice[0]!r} comes twice"
        raise _refused(path, "line 1", problem, "keep the one that is meant")


def _refused(path: Path, place: str, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError([Problem(str(path), place, problem, remedy)])
