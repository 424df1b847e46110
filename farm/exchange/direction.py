"""Which way is better of figures that somebody else recorded: said, or assumed and told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from farm.errors import FarmError

Better = Literal["higher", "lower"]

#: Names and units of which less is better, unless they name a rate, as bytes/s.
LESS_IS_BETTER = re.compile(
    r"(?<![a-z0-9/])"
    r"(ns|us|µs|ms|secs?|seconds?|minutes?|latency|latencies|durations?|time|runtime|elapsed"
    r"|ttft|tpot|bytes?|[kmgt]i?b|memory|rss|perplexity|loss)"
    r"(?![a-z0-9])"
    r"|^s$|[(\[]s[)\]]",
    re.IGNORECASE,
)
RATE = re.compile(r"/ ?s(ec|econd)?\b|per[ _]s(ec|econd)?\b|\btps\b|\bthroughput\b", re.IGNORECASE)


@dataclass(frozen=True)
class Direction:
    """Which way is better, and whether that was assumed."""

    better: Better
    assumed: bool

    def __str__(self) -> str:
        remedy = "; of seconds or bytes give --lower-is-better" if self.assumed else ""
        return f"{self.better} is better{' (assumed)' if self.assumed else ''}{remedy}"


def direction(said: Better | None, names: Iterable[str]) -> Direction:
    """Return what was said, else that higher is better.

    Raises FarmError if nothing was said and a name or a unit speaks against it.
    """
    if said:
        return Direction(said, assumed=False)
    doubtful = next((name for name in names if contradicts(name)), None)
    if doubtful is not None:
        raise FarmError(
            f"{doubtful!r} sounds as if less were better; "
            "give --lower-is-better, or --higher-is-better if it is not so"
        )
    return Direction("higher", assumed=True)


def contradicts(name: str) -> bool:
    """Tell whether a name or unit sounds as if less were better."""
    return LESS_IS_BETTER.search(name.replace("_", " ")) is not None and not RATE.search(name)
