"""Aligned tables for people; programs read ``--json``."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines with the first column flush left and the others flush right."""
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in table
    )


def percent(share: float) -> str:
    """Return a relative change with its sign, e.g. ``-3.05 %``."""
    return f"{100 * share:+.2f} %"
