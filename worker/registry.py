"""The folder is the registry: a file of ``benchmarks`` or ``caches`` is one, by its name.

Files are read, not imported, so that a coordinator without MLX can list and validate.
"""

from __future__ import annotations

import ast
import importlib
import shlex
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Kind = Literal["benchmarks", "caches"]


class UnknownEntryError(Exception):
    """A name that no file of the folder has."""


class UnusableEntryError(Exception):
    """A benchmark or cache that this host, or these parameters, cannot use."""


@dataclass(frozen=True)
class Entry:
    """What a file says of itself.

    Attributes
    ----------
    summary
        Its first line.
    defaults
        Its parameters.
    model_free
        It measures the bare machine.
    open
        It takes any further parameter.
    install
        What pip has to install for it, where not every host has it.
    """

    name: str
    summary: str
    defaults: dict[str, Any]
    model_free: bool
    open: bool
    install: str


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """Return every entry of a folder by its name."""
    folder = Path(__file__).parent / kind
    return {path.stem: _read(path) for path in sorted(folder.glob("[a-z]*.py"))}


def load(kind: Kind, name: str) -> ModuleType:
    """Import one entry.

    Raises UnknownEntryError with the names that exist, and UnusableEntryError for a package that
    this host lacks.
    """
    if name not in entries(kind):
        raise UnknownEntryError(f"no {name!r} in {kind}; there are: {', '.join(entries(kind))}")
    needed = entries(kind)[name].install
    try:
        return importlib.import_module(f"worker.{kind}.{name}")
    except ModuleNotFoundError as error:
        if not needed:
            raise
        raise UnusableEntryError(
            f"{name}: {error} on this host; install it there: "
            f"{sys.executable} -m pip install {shlex.quote(needed)}"
        ) from error


def _read(path: Path) -> Entry:
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in {"DEFAULTS", "MODEL_FREE", "OPEN", "INSTALL"}
    }
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Entry(
        name=path.stem,
        summary=summary,
        defaults=constants.get("DEFAULTS", {}),
        model_free=constants.get("MODEL_FREE", False),
        open=constants.get("OPEN", False),
        install=constants.get("INSTALL", ""),
    )
