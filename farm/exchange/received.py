"""A file that somebody sent: its text, and the records in it, all of them or none."""

from __future__ import annotations

import json
from pathlib import Path

from farm.errors import ConfigurationError, Problem
from farm.exchange import bundle, encoding, foreign, llama_bench, untrusted
from farm.exchange.untrusted import UntrustedError
from worker.record import Record

LARGEST_FILE = 2**30  # bytes
READABLE = "give records as JSON lines, a bundle, or a CSV table of published figures"


def text(path: Path) -> str:
    """Return the text of a file; raises ConfigurationError for one that is none or too large."""
    try:
        if not path.is_file():
            raise refused(path, "is no file")
        if path.stat().st_size > LARGEST_FILE:
            raise refused(path, f"larger than {LARGEST_FILE} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise refused(path, error.strerror or str(error)) from error
    if known := foreign.binary(content):
        raise refused(path, f"is {known[0]}", known[1])
    try:
        return encoding.decoded(content)
    except UntrustedError as error:
        raise refused(path, str(error), error.remedy) from error


def table(path: Path) -> str:
    """Return the text of a CSV table; raises ConfigurationError for a table of another tool."""
    content = text(path)
    if known := foreign.recognised(path, content):
        raise refused(path, f"is {known[0]}", known[1])
    return content


def records(path: Path) -> list[Record]:
    """Return the records of JSON lines, or of what llama-bench wrote.

    Raises ConfigurationError for another tool's file, and for one with anything wrong in it.
    """
    content = text(path)
    if of_llama := llama_bench.records(path, content):
        return _checked(path, of_llama)
    lines = encoding.lines(content)
    if lines and _is_summary(lines[-1]):
        lines.pop()
    begun = next((number for number, line in enumerate(lines) if _is_object(line)), None)
    known = foreign.recognised(path, content)
    if known and (begun is None or not _is_record(lines[begun])):
        raise refused(path, f"is {known[0]}", known[1])
    # What a run logged before its first record is passed over; no record begins like that.
    log = begun or 0
    return bundle.read_lines(path, "file", lines[log:], first=log + 1)


def refused(path: Path, what: str, remedy: str = READABLE) -> ConfigurationError:
    """Return the error that a whole file is not taken."""
    return ConfigurationError([Problem(str(path), "file", what, remedy)])


def _checked(path: Path, found: list[Record]) -> list[Record]:
    try:
        for record in found:
            untrusted.check(record)
    except UntrustedError as error:
        raise refused(path, str(error), error.remedy) from error
    return found


def _is_object(line: str) -> bool:
    return line.lstrip().startswith("{")


def _is_summary(line: str) -> bool:
    """Tell the last line of ``farm run --json``, which sums up the records."""
    return line.startswith('{"summary": ')


def _is_record(line: str) -> bool:
    """Tell a record of a farm, whole or not, by the key that none lacks."""
    try:
        return "job" in json.loads(line)
    except (ValueError, RecursionError):
        return '"job"' in line
