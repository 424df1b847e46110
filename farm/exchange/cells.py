"""What one field of a recorded table means: a figure, its unit, a number, a commit, a date."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

FIGURE = re.compile(r"([+-]?[\d.,]*\d[\d.,]*(?:[eE][+-]?\d+)?)\s*([^\d\s].*)?")
HASH = re.compile(r"[0-9a-fA-F]{7,64}")


class RowError(ValueError):
    """One row is wrong: the problem, and the remedy."""


class FileError(ValueError):
    """All rows are written in a way that cannot be read without a guess; told once."""


def figure(text: str, column: str, separator: str) -> tuple[float, str]:
    """Return a positive figure and its unit; a decimal comma only where commas part no columns."""
    found = FIGURE.fullmatch(text)
    if not found or "_" in text:
        raise RowError(f"{column} {text!r} is no number", "leave the row out") from None
    digits, unit = found[1], (found[2] or "").strip()
    if "," in digits:
        digits = _with_point(digits, text, column, separator)
    try:
        value = float(digits)
    except ValueError:
        raise RowError(f"{column} {text!r} is no number", "leave the row out") from None
    if not (value > 0 and math.isfinite(value)):
        raise RowError(f"{column} {text} is not positive and finite", "leave the row out")
    return value, unit


def whole(text: str, column: str) -> int:
    """Return an integer; tables with a gap come out of pandas with 3.0 for 3."""
    try:
        place = int(text.removesuffix(".0"))
    except ValueError:
        raise RowError(f"{column} {text!r} is no integer", "number the rows") from None
    if "_" in text:
        raise RowError(f"{column} {text!r} is no integer", "number the rows")
    if not -(2**63) <= place < 2**63:
        raise RowError(f"{column} {text} is out of range", "number from 0")
    return place


def moment(text: str) -> int | None:
    """Return the microseconds since 1970 of an ISO date or time (UTC if it names no zone)."""
    if not re.match(r"\d{4}-?\d\d-?\d\d", text):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1e6)


def is_hash(text: str) -> bool:
    """Tell whether a text looks like the name of a commit."""
    return HASH.fullmatch(text) is not None


def _with_point(digits: str, text: str, column: str, separator: str) -> str:
    if separator == "," or "." in digits or digits.count(",") > 1:
        raise FileError(f"{column} {text!r} has a comma", "write a point before the decimals only")
    return digits.replace(",", ".")
