"""Aligned plain-text tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from farm.errors import printable


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with two spaces between columns; figures are right-aligned.

    Control characters of names stand escaped: text from elsewhere never steers a terminal.
    """
    rows = [[printable(text) for text in row] for row in rows]
    table = [[printable(text) for text in header], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    right = [_numeric([row[column] for row in rows]) for column in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    ]
    return "\n".join(lines)


def percent(share: float) -> str:
    """Return a relative change with its sign, e.g. ``-3.05 %``; ``-`` for none."""
    return f"{100 * share:+.2f} %" if math.isfinite(share) else "-"


def _numeric(column: Sequence[str]) -> bool:
    return any(text[:1].isdigit() for text in column) and all(
        text[:1].isdigit() or text[:1] in "-+<" for text in column
    )


def counted(number: int, what: str) -> str:
    """Return ``1 cell`` or ``2 cells``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
