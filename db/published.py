"""Published figures: reference data beside what was measured, as CSV tables named for a suite."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from db import models
from worker.metrics import METRICS

FOLDER = Path(__file__).parent / "reference"
#: What a value is: the figure, its ratio to fp16 in the same table, or a bound.
KINDS = ("figure", "ratio", "at most", "at least")
REQUIRED = ("source", "device", "benchmark", "metric", "kind", "value")
OPTIONAL = ("model", "cache", "context", "note")
#: Beyond it a double is no longer exact; no context, no size and no speed is that large.
LARGEST = 2**53


@dataclass(frozen=True)
class Published:
    """A figure somebody published, in a table that ``suite`` measures.

    ``device`` names the chip alone, as the sources do; ``context`` is None where they do not say.
    """

    suite: str
    source: str
    device: str
    model: str | None
    cache: str | None
    benchmark: str
    context: int | None
    metric: str
    kind: str
    value: float
    note: str


COLUMNS = tuple(column.name for column in fields(Published))


@dataclass(frozen=True)
class Fault:
    """What is wrong in a table, where, and what to do."""

    place: str
    problem: str
    remedy: str


class PublishedError(Exception):
    """A table that cannot be taken, with everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{f.place}: {f.problem}" for f in self.faults))


def suites() -> list[str]:
    """Return the suites whose published figures come with the farm."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


def parse(suite: str, text: str) -> list[Published]:
    """Understand a CSV table with the columns of ``Published`` but its suite, in any order.

    Raises PublishedError with every fault.
    """
    faults: list[Fault] = []
    figures: list[Published] = []
    keys: set[tuple[object, ...]] = set()
    for line, row in _rows(text):
        wrong = list(_faults(row))
        if not wrong:
            figure = _figure(suite, row)
            key = tuple(getattr(figure, name) for name in COLUMNS if name not in ("value", "note"))
            figures.append(figure)
            if key in keys:
                wrong.append(Fault("", "the same figure comes twice", "keep one of the rows"))
            keys.add(key)
        faults += [Fault(f"line {line}", fault.problem, fault.remedy) for fault in wrong]
    if not figures and not faults:
        faults.append(Fault("file", "no figures", "give a row for each"))
    if faults:
        raise PublishedError(faults)
    return figures


def replace(connection: Connection, suite: str, figures: Iterable[Published]) -> int:
    """Make these the only figures of a suite, unless they are already; return how many changed."""
    wanted = list(figures)
    table = models.Published
    columns = [getattr(table, name) for name in COLUMNS]
    of_suite = select(*columns).where(table.suite == suite).order_by(table.id)
    stored = [Published(*row) for row in connection.execute(of_suite)]
    if stored == wanted:
        return 0
    connection.execute(delete(table).where(table.suite == suite))
    rows = [{name: getattr(figure, name) for name in COLUMNS} for figure in wanted]
    connection.execute(insert(table), rows)
    return len(set(wanted) - set(stored))


def bring_up_to_date(connection: Connection) -> None:
    """Store the tables that come with the farm, as they are in this version."""
    for suite in suites():
        text = (FOLDER / f"{suite}.csv").read_text(encoding="utf-8")
        replace(connection, suite, parse(suite, text))


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    wanted = {*REQUIRED, *OPTIONAL}
    try:
        header = [name.strip() for name in next(reader, [])]
        if sorted(header) != sorted(wanted):
            what = f"columns {','.join(header)[:200] or '(none)'}"
            remedy = f"give exactly {','.join((*REQUIRED, *OPTIONAL))}"
            raise PublishedError([Fault("line 1", what, remedy)])
        for row in reader:
            if row and len(row) != len(header):
                what = f"{len(row)} fields"
                place = f"line {reader.line_num}"
                raise PublishedError([Fault(place, what, f"give {len(header)}, quoted")])
            if row:
                stripped = (text.strip() for text in row)
                yield reader.line_num, dict(zip(header, stripped, strict=True))
    except csv.Error as error:
        place = f"line {reader.line_num}"
        raise PublishedError([Fault(place, str(error), "mend the CSV there")]) from error


def _faults(row: dict[str, str]) -> Iterator[Fault]:
    for name in REQUIRED:
        if not row[name]:
            yield Fault("", f"{name} is empty", "fill it in")
    if row["metric"] and row["metric"] not in METRICS:
        yield Fault("", f"unknown metric {row['metric'][:50]!r}", f"take of {', '.join(METRICS)}")
    if row["kind"] and row["kind"] not in KINDS:
        yield Fault("", f"unknown kind {row['kind'][:50]!r}", f"take of {', '.join(KINDS)}")
    if row["value"] and not _is_figure(row["value"]):
        yield Fault("", f"value {row['value'][:50]!r} is no finite number", "give a figure")
    context = row["context"]
    if context and not (context.isascii() and context.isdecimal() and int(context[:20]) < LARGEST):
        yield Fault("", f"context {context[:50]!r} is no number of tokens", "give 4096, or nothing")


def _is_figure(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value >= 0


def _figure(suite: str, row: dict[str, str]) -> Published:
    return Published(
        suite=suite,
        source=row["source"],
        device=row["device"],
        model=row["model"] or None,
        cache=row["cache"] or None,
        benchmark=row["benchmark"],
        context=int(row["context"]) if row["context"] else None,
        metric=row["metric"],
        kind=row["kind"],
        value=float(row["value"]),
        note=row["note"],
    )
