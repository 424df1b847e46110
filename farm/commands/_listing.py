"""Lists of what there is, for people as a table and for scripts as JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any

from farm.report.table import aligned
from worker import registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def registered(kind: registry.Kind) -> list[dict[str, Any]]:
    """Return a row for each benchmark or cache; nothing is imported for it."""
    return [
        {"name": entry.name, "description": entry.summary, "parameters": entry.defaults}
        for entry in registry.entries(kind).values()
    ]


def text(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """Return rows of equal keys in the form that the arguments ask for."""
    if args.json:
        return json.dumps(rows, indent=2)
    return aligned(list(rows[0]), [[_text(value) for value in row.values()] for row in rows])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={default}" for name, default in value.items()) or "-"
    return str(value)
