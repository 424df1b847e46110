"""The same harness in a new process, whatever lies in the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import worker


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line of one of our modules; it needs ``environment``."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment with the folder of this harness first on the path."""
    own = str(Path(worker.__file__).parents[1])
    paths = [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONSAFEPATH": "1"}
