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

from worker.models import is_gguf
from worker.refusal import RefusalError

Kind = Literal["benchmarks", "caches"]

#: The loader of text models, which run in this process by mlx-lm.
TEXT = "loading"
#: The loader of models that llama.cpp runs.
GGUF = "gguf"
USUAL = 8.0  # seconds of a job
CONSTANTS = frozenset(
    {
        "DEFAULTS",
        "MODEL_FREE",
        "OPEN",
        "INSTALL",
        "LOADER",
        "RESUMABLE",
        "SUBJECT",
        "WIDTHS",
        "EXACT",
        "SECONDS",
    }
)


class UnknownEntryError(Exception):
    """A name that no file of the folder has."""


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
    loader
        The module of ``worker/models`` that loads its models.
    resumable
        It keeps a journal.
    exact
        Its figures are the same each time, whatever else the machine does: bytes, quality.
    seconds
        How long a job takes as suites have it, with the bundled model on two cores: an estimate
        where nothing was measured.
    subject
        It makes caches of the build under test.
    widths
        Its parameters that say how many bits a value has, each with the bits that scales add to it;
        keys and values share them equally. 0 bits leave a side as it is, with 16.
    """

    name: str
    summary: str
    defaults: dict[str, Any]
    model_free: bool
    open: bool
    install: str
    loader: str
    resumable: bool
    exact: bool
    seconds: float
    subject: bool
    widths: dict[str, float]

    @property
    def gguf(self) -> bool:
        """Whether llama.cpp runs it, and not MLX."""
        return self.loader == GGUF

    def takes(self, model: str) -> bool:
        """Tell if it can run a model: of GGUFs MLX runs files alone, and those as text models."""
        if self.gguf:
            return is_gguf(model)
        return not is_gguf(model) or (self.loader == TEXT and model.endswith(".gguf"))


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """Return every entry of a folder by its name."""
    folder = Path(__file__).parent / kind
    return {path.stem: _read(path) for path in sorted(folder.glob("[a-z]*.py"))}


def load(kind: Kind, name: str) -> ModuleType:
    """Import one entry.

    Raises UnknownEntryError with the names that exist, and RefusalError for a package that
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
        raise RefusalError(
            f"{name}: {error} on this host; install it there: "
            f"{sys.executable} -m pip install {shlex.quote(needed)}"
        ) from error


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
        name=path.stem,
        summary=summary,
        defaults=constants.get("DEFAULTS", {}),
        model_free=constants.get("MODEL_FREE", False),
        open=constants.get("OPEN", False),
        install=constants.get("INSTALL", ""),
        loader=constants.get("LOADER", TEXT),
        resumable=constants.get("RESUMABLE", False),
        exact=constants.get("EXACT", False),
        seconds=constants.get("SECONDS", USUAL),
        subject=constants.get("SUBJECT", False),
        widths=constants.get("WIDTHS", {}),
    )
