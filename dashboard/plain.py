"""Text from elsewhere, shown as it is: a name, a reason or an address is never markup."""

from __future__ import annotations

import re

LONGEST = 200
PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# Where a page would make a link or a picture of a word although its punctuation is escaped.
ALIVE = re.compile(r"(:|@|www)", re.IGNORECASE)
# Invisible, and between two letters no line is broken there.
JOINER = "\u2060"
WEB = re.compile(r"https?://[^\s<>()\[\]\\`]+")


def plain(text: object, most: int = LONGEST) -> str:
    """Return a text for Markdown that reads as the text itself, on one line and cut at ``most``."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    short = line if len(line) <= most else f"{line[: most - 1]}…"
    return PUNCTUATION.sub(r"\\\1", ALIVE.sub(rf"\1{JOINER}", short))


def linked(text: object, url: str | None) -> str:
    """Return a text for Markdown as a link to a page of the web, or alone if it is none."""
    if url is None or not WEB.fullmatch(url):
        return plain(text)
    return f"[{plain(text)}](<{url}>)"
