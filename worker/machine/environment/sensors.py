"""What readers of sensors share: figures that are figures, and the time that a reading says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TypeGuard

from worker.machine.environment.source import Facts


def is_amount(value: object, at_most: float = sys.float_info.max) -> TypeGuard[float]:
    """Tell a finite number of at least nothing; a JSON true is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= at_most


def amounts(values: Mapping[str, object]) -> Facts:
    """Return those values that are amounts."""
    return {name: float(value) for name, value in values.items() if is_amount(value)}


def iso_time(text: object) -> float | None:
    """Return a time with its zone in seconds since 1970; None for any other text."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def written_time(text: str, form: str) -> float | None:
    """Return a time with its zone, written as ``form`` says, in seconds since 1970."""
    try:
        return datetime.strptime(text, form).timestamp()  # noqa: DTZ007  every form has %z
    except (ValueError, OverflowError):
        return None
