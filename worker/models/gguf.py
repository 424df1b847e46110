"""Find a model for llama.cpp: it is loaded by the program that runs it."""

from __future__ import annotations

from worker.models import locate


def load(name: str) -> tuple[str, None]:
    """Return (file or hub id, None); raises ModelError for a file that is not there."""
    return str(locate(name) or name), None
