"""The folder is the registry: a file of ``benchmarks`` or ``caches`` is one, by its name.

Files are read, not imported, so that a coordinator without MLX can list and validate.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Kind = Literal["benchmarks", "caches"]

#: The loader of text models, which run in this process by mlx-lm.
TEXT = "loading"
#: The loader of models that llama.cpp runs.
GGUF = "gguf"
CONSTANTS = frozenset({"DEFAULTS", "MODEL_FREE", "LOADER", "RESUMABLE"})


class UnknownEntryError(Exception):
    """A name that no file of the folder has."""


@dataclass(frozen=True)
class Entry:
    """What a file says of itself: first line, parameters, and whether it needs a model.

    ``loader`` is the module of ``worker/models`` that loads its models, ``resumable`` tells if it
    keeps a journal.
    """

    name: str
    summary: str
    defaults: dict[str, Any]
    model_free: bool
    loader: str
    resumable: bool

    @property
    def gguf(self) -> bool:
        """Whether llama.cpp runs it, and not MLX."""
        return self.loader == GGUF


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """Return every entry of a folder by its name."""
    folder = Path(__file__).parent / kind
    return {path.stem: _read(path) for path in sorted(folder.glob("[a-z]*.py"))}


def load(kind: Kind, name: str) -> ModuleType:
    """Import one entry; raises UnknownEntryError with the names that exist."""
    if name not in entries(kind):
        raise UnknownEntryError(f"no {name!r} in {kind}; there are: {', '.join(entries(kind))}")
    return importlib.import_module(f"worker.{kind}.{name}")


def load_model(entry: Entry, name: str) -> tuple[Any, Any]:
    """Load a model as a benchmark wants it; raises ModelError or RefusalError."""
    loaded: tuple[Any, Any] = importlib.import_module(f"worker.models.{entry.loader}").load(name)
    return loaded


def _read(path: Path) -> Entry:
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in CONSTANTS
    }
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Entry(
        path.stem,
        summary,
        constants.get("DEFAULTS", {}),
        constants.get("MODEL_FREE", False),
        constants.get("LOADER", TEXT),
        constants.get("RESUMABLE", False),
    )
