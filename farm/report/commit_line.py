"""A commit in words: the start of its name, its subject, its date and its author."""

from __future__ import annotations

import time
from typing import Protocol

from farm.report.markdown import quoted

SHORT = 10  # characters of a commit's name


class Known(Protocol):
    """What git knows of a commit; ``authored`` is in seconds since 1970."""

    @property
    def subject(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def authored(self) -> float: ...


def commit_line(name: str, known: Known | None) -> str:
    """Return ``1a2b3c4d5e "Decode in one kernel" (2026-11-20, Ada)``, the name alone if unknown."""
    return name[:SHORT] if known is None else _told(name, known, f'"{known.subject}"', known.author)


def commit_markdown(name: str, known: Known | None) -> str:
    """Return the same for Markdown: what its author wrote stands as code."""
    if known is None:
        return name[:SHORT]
    return _told(name, known, quoted(known.subject), quoted(known.author))


def _told(name: str, known: Known, subject: str, author: str) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(known.authored))
    return f"{name[:SHORT]} {subject} ({day}, {author})"
