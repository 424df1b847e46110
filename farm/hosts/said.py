"""Of all that a program said, the line that tells why it failed."""

from __future__ import annotations

import re

#: What programs begin the line with that says it: pip, git, uv, Python's own refusals.
TELLS = re.compile(r"\s*(error|fatal|ERROR|E|FATAL)\b\s*[:!]")
SHOWN = 300  # characters


def telling(text: str) -> str:
    """Return the exception of a traceback, else the first line called an error, else the first."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    traces = [at for at, line in enumerate(lines) if line.startswith("Traceback")]
    after = [line for line in lines[traces[-1] + 1 :] if not line[0].isspace()] if traces else []
    errors = [line for line in lines if TELLS.match(line)]
    chosen = next(iter([*after, *errors, *lines]), "").strip()
    shown = "".join(char for char in chosen if char.isprintable())[:SHOWN]
    # A full stop would stand before the remedy that follows.
    return shown if shown.endswith("..") else shown.removesuffix(".")
