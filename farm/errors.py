"""What can go wrong before anything is measured.

FarmError
+-- ConfigurationError   all problems of one or more files at once
+-- HostError            a host that cannot be reached, or was lost
    +-- HostRefusedError     trying again changes nothing: somebody has to mend something first
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from farm import log

LOG = logging.getLogger(__name__)

#: Of many lines of one kind, so many are shown.
SHOWN = 50


class FarmError(Exception):
    """The message says file, thing, problem and remedy; ``main`` prints it and exits with 2."""


class HostError(FarmError):
    """A host that cannot be reached, or is lost: which, why, and what to do."""


class HostRefusedError(HostError):
    """A host that trying again does not help: a key, a package or a version is wrong."""


def printable(text: str) -> str:
    """Return text of others for a terminal: what is no character to be seen stands escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file: where, what, and what to do."""

    file: str
    place: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.place}: {self.problem}; {self.remedy}")


class ConfigurationError(FarmError):
    """Every problem found, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@contextmanager
def of_host(name: str) -> Iterator[None]:
    """Let whatever goes wrong in work for one host be that host's HostError, and end no other."""
    try:
        yield
    except HostError:
        raise
    except FarmError as error:
        raise HostRefusedError(f"host {name!r}: {error}") from error
    except Exception as error:
        LOG.exception("host %s", name)
        raise HostError(
            f"host {name!r}: {unexpected(error)}; {log.FILE} tells where: please report it"
        ) from error


def unexpected(error: Exception) -> str:
    """Return on one line what an error is that nobody foresaw."""
    words = " ".join(str(error).split())[:200]
    return f"unexpected {type(error).__name__}: {words}" if words else f"unexpected {error!r}"


def shortened(lines: Sequence[str], rest: str) -> list[str]:
    """Return the first lines, and how many more there are, called ``rest``."""
    left = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"{left} more {rest}"] if left > 0 else [])]
