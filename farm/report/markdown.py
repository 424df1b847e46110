"""Texts of others in Markdown."""

from __future__ import annotations

import re


def quoted(text: str) -> str:
    """Return a text of others as a code span, in which nothing is markup and nobody is called."""
    told = " ".join(text.split()) or "-"
    fence = "`" * (1 + max(map(len, re.findall("`+", told)), default=0))
    gap = " " if told.startswith("`") or told.endswith("`") else ""
    return f"{fence}{gap}{told}{gap}{fence}"
