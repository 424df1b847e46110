"""Find a model: the bundled one, a local directory, or a hub id."""

from __future__ import annotations

from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"
RANDOM = "random:"


class ModelError(Exception):
    """A model that is not there: which, and how to get it."""


def locate(name: str) -> Path | None:
    """Return the folder of a local model, or None for a hub id.

    ``reference`` is the bundled model; a name with a leading ``/``, ``.`` or ``~`` is a directory;
    ``random:DIRECTORY`` is the architecture of a config.json; anything else is a hub id. Raises
    ModelError for a folder without a model.
    """
    if name == "reference":
        path = REFERENCE
    elif name.startswith(("/", ".", "~", RANDOM)):
        path = Path(name.removeprefix(RANDOM)).expanduser()
    else:
        return None
    if not (path / "config.json").is_file():
        raise ModelError(
            f"model {name!r}: no config.json in {path}; name a folder in mlx-lm's format "
            "(mlx_lm.convert makes one), a hub id, or 'reference'"
        )
    return path
