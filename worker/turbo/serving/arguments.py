"""Numbers on a command line: argparse names the flag, these say what it may be."""

from __future__ import annotations

import argparse
import threading

SEEDS = 1 << 64


def positive(text: str) -> int:
    """Return a whole number from 1."""
    return _within(text, 1, None)


def seed(text: str) -> int:
    """Return what MLX's random numbers may begin with."""
    return _within(text, 0, SEEDS - 1)


def seconds(text: str) -> float:
    """Return a time that a thread can wait."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
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
