"""Values on a command line: argparse names the flag, these say what it may be."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any

SEEDS = 1 << 64
#: With mlx-lm's commands: as many tokens as a model will say.
_NO_LIMIT = "-1"


def positive(text: str) -> int:
    """Return a whole number from 1."""
    return _within(text, 1, None)


def tokens(text: str) -> int:
    """Return how many tokens an answer may have, -1 where that has no limit."""
    return -1 if text == _NO_LIMIT else _within(text, 1, None)


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    return _number(text, 1, "from 0 to 1")


def half(text: str) -> float:
    """Return a number from 0 to 0.5."""
    return _number(text, 0.5, "from 0 to 0.5")


def settings(text: str) -> dict[str, Any]:
    """Return an object of JSON."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no object of JSON")
    return found


def new_file(text: str) -> Path:
    """Return where a file can be written."""
    folder = Path(text).parent
    try:
        found = folder.is_dir()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.strerror}") from error
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {folder}")
    return Path(text)


def natural(text: str) -> int:
    """Return a whole number from 0."""
    return _within(text, 0, None)


def seed(text: str) -> int:
    """Return what MLX's random numbers may begin with."""
    return _within(text, 0, SEEDS - 1)


def seconds(text: str) -> float:
    """Return a time that a thread can wait."""
    return _number(text, threading.TIMEOUT_MAX, "of seconds")


def _number(text: str, most: float, kind: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number {kind}")
    return found


def _within(text: str, least: int, most: int | None) -> int:
    try:
        found = int(text)
    except ValueError:
        found = least - 1
    if found < least or (most is not None and found > most):
        limit = "" if most is None else f" to {most}"
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least}{limit}")
    return found
