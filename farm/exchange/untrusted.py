"""Records of a file that anybody may have written: taken only if nothing in them can do harm.

A page must be able to show them and SQLite to store them: finite figures, integers of 64 bits,
names of one line, times of this century.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from worker.metrics import METRICS
from worker.record import Record

Model = TypeVar("Model", bound=BaseModel)

LONGEST_LINE = 16 * 2**20  # characters
DEEPEST = 20
LARGEST = 2**53
LONGEST_NAME = 300  # characters
LONGEST_TEXT = 100_000
EARLIEST = 1_577_836_800.0  # 2020: no farm is older
CLOCKS_APART = 3600.0  # seconds that a host's clock may be ahead
LONGEST = 1e7  # seconds
MOST_ATTEMPTS = 10_000

HUGE = 2**63  # SQLite counts no further
NO_TEXT = re.compile("[\0\ud800-\udfff]")  # ends a text in C, or is half a letter
HASH = re.compile(r"[0-9a-f]{16}")
COMMIT = re.compile(r"[0-9a-f]{7,64}")
RECORDS = (1, 2)  # the versions of a record that can be read
UPDATE = "update this farm, or export again with its version"


class UntrustedError(Exception):
    """Why a document is refused: what is wrong, and what to do."""

    def __init__(self, problem: str, remedy: str = "ask for the file again") -> None:
        super().__init__(problem)
        self.remedy = remedy


def record(text: str) -> Record:
    """Return the record that a line holds; raises UntrustedError for any other line."""
    document = parse(text)
    found = validated(Record, text, document, RECORDS)
    for problem in (*_identity(found), *_figures(found)):
        raise UntrustedError(problem)
    unknown = {sample.metric for sample in found.samples} - METRICS.keys()
    if unknown:
        raise UntrustedError(f"unknown metric {min(unknown)!r}", UPDATE)
    return found


def check(found: Record) -> None:
    """Raise UntrustedError for a record, made of a foreign file, that cannot be stored or shown."""
    for problem in (*_harm(found.model_dump()), *_identity(found)):
        raise UntrustedError(problem)


def parse(text: str) -> dict[str, Any]:
    """Return a JSON object without NaN, huge numbers, keys that come twice or deep nesting."""
    if len(text) > LONGEST_LINE:
        raise UntrustedError(f"longer than {LONGEST_LINE} characters")
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError as error:
        raise UntrustedError("nested too deeply") from error
    except ValueError as error:
        raise UntrustedError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UntrustedError("not a JSON object")
    for problem in _harm(document):
        raise UntrustedError(problem)
    return document


def validated(
    model: type[Model], text: str, document: dict[str, Any], versions: Sequence[int] = (1,)
) -> Model:
    """Return a document as a model, types taken strictly; tells another version apart."""
    if document.get("version", versions[0]) not in versions:
        known = " and ".join(map(str, versions))
        raise UntrustedError(f"version {document['version']!r}, known is {known}", UPDATE)
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise UntrustedError(f"{place}: {first['msg']}") from error


def shown(text: str) -> str:
    """Return a text that a terminal takes for nothing but text, and at most a line of it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_NAME])


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:50]!r} comes twice")
        found[key] = value
    return found


def _harm(document: Any) -> Iterator[str]:
    """Find what cannot be stored or shown anywhere in a document, level by level."""
    level = [document]
    for _ in range(DEEPEST + 1):
        inside: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if len(value) > LONGEST_TEXT:
                    yield f"a text of {len(value)} characters"
                elif NO_TEXT.search(value):
                    yield f"a text that is no text: {value[:50]!a}"
            elif isinstance(value, dict):
                inside += value
                inside += value.values()
            elif isinstance(value, list | tuple):
                inside += value
            elif isinstance(value, int | float) and not -HUGE < value < HUGE:
                yield "a number that is not finite, or huge"
        level = inside
    if level:
        yield "nested too deeply"


def _identity(found: Record) -> Iterator[str]:
    """Check what names the record: the tables, pages and file names are made from it."""
    job = found.job
    cell, build = job.cell, job.build
    names = {
        "job.run": job.run,
        "job.host": job.host,
        "host": found.host or "none",
        "device": found.environment.device,
        "cell.benchmark": cell.benchmark,
        "cell.model": cell.model or "none",
        "cell.cache": cell.cache.label if cell.cache else "none",
    }
    for place, name in names.items():
        if not (name.strip() and name.isprintable() and len(name) <= LONGEST_NAME):
            yield f"{place}: {name[:50]!a} is no name"
    if not HASH.fullmatch(build.hash):
        yield f"build.hash: {build.hash[:50]!a} is no hash"
    if build.commit is not None and not COMMIT.fullmatch(build.commit):
        yield f"build.commit: {build.commit[:50]!a} is no commit"
    if found.build_hash not in (None, build.hash):
        yield f"build_hash: other bytes ran than build {build.hash}"
    if (found.status == "ok") != (found.failure is None):
        yield f"status {found.status!r} with{'out' if found.failure is None else ''} a failure"


def _figures(found: Record) -> Iterator[str]:
    """Check times and counts."""
    job = found.job
    if not EARLIEST <= found.started <= time.time() + CLOCKS_APART:
        yield f"started: {found.started:g} is no time from 2020 to now; is that host's clock right?"
    seconds = {"job.deadline": job.deadline, **found.phases}
    for name, value in seconds.items():
        if not 0 <= value <= LONGEST:
            yield f"{name}: {value:g} seconds"
    counts = {"attempt": (found.attempt, 1), "repetition": (job.repetition, 0)}
    for name, (count, least) in counts.items():
        if not least <= count <= MOST_ATTEMPTS:
            yield f"{name}: {count}"
    context = job.cell.params.get("context")
    if isinstance(context, int) and not 0 <= context <= LARGEST:
        yield f"context: {context}"
