"""The log: where it is told in full what a sentence on the terminal only names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE = Path("~/.cache/turbofarm/farm.log")
LARGEST = 2_000_000  # bytes; one older file is kept beside it


@contextmanager
def to_file() -> Iterator[None]:
    """Let everything that is logged go to ``FILE``, and nothing of it to the terminal."""
    logging.raiseExceptions = False  # what cannot be logged is not for the terminal either
    handler = _handler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _handler() -> logging.Handler:
    path = FILE.expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(path, maxBytes=LARGEST, backupCount=1, delay=True)
    except OSError:
        return (
            logging.NullHandler()
        )  # a home that takes no file must not keep the farm from its work
