"""Published figures: reference points beside what was measured here."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).parents[1] / "reference" / "published.csv"


@dataclass(frozen=True)
class Published:
    """A figure somebody published; ``device`` names the chip alone, as the sources do."""

    source: str
    device: str
    model: str
    cache: str
    benchmark: str
    context: int
    metric: str
    value: float


@cache
def published() -> tuple[Published, ...]:
    """Return every published figure that the project knows."""
    with TABLE.open(newline="") as file:
        return tuple(_published(**row) for row in csv.DictReader(file))


def _published(*, context: str, value: str, **row: str) -> Published:
    return Published(**row, context=int(context), value=float(value))
