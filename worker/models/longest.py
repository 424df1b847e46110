"""How long a text a model was made for, read from its files without loading it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from worker.models import PACKAGED, ModelError, gguf_header, locate, packaged

#: The turbo cache's server has to know it too. It is run by its path, since importing the package
#: that it is in needs MLX.
_RULE = Path(__file__).parents[1] / "turbo" / "serving" / "context.py"


def longest_context(name: str) -> int | None:
    """Return a model's most tokens; None where its files are not here, or do not say.

    Raises ModelError for a model that is not there or whose file is damaged.
    """
    path = locate(name)
    if name.startswith(PACKAGED):
        path = packaged.fetched(name)
    if path is None:
        return None
    return _of_gguf(path) if path.suffix == ".gguf" else _of_folder(path)


def _of_gguf(path: Path) -> int | None:
    said = gguf_header.read(path).metadata
    length = said.get(f"{said.get('general.architecture')}.context_length")
    return length if isinstance(length, int) else None


def _of_folder(path: Path) -> int | None:
    file = path / "config.json"
    try:
        config = json.loads(file.read_text())
    except ValueError as error:
        raise ModelError(f"{file}: not valid JSON: {error}; mend it there") from error
    longest: int | None = runpy.run_path(str(_RULE))["context_of"](config)
    return longest
