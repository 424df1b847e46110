"""The commands that tests put into a PATH: ``farm`` with fakes, or with its jobs in one process."""

from __future__ import annotations

import atexit
import ctypes
import os
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from unittest import mock

import db.engine

SUPPORT = Path(__file__).parent
#: Debian's, for MLX, which on Linux comes with the reference BLAS: that takes five times as long.
FAST = sorted(Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0"))
PATHS = os.pathsep.join([str(SUPPORT.parents[1]), str(SUPPORT)])


def words(name: str) -> list[str]:
    """Return the words that run a module of this folder, preloaded where processes can fork."""
    if sys.platform != "linux":  # frameworks of macOS do not survive a fork
        return [sys.executable, str(SUPPORT / f"{name}.py")]
    return [sys.executable, "-I", "-S", str(SUPPORT / "preloaded.py"), _served(), name]


@lru_cache
def _served() -> str:
    """Start the interpreter that all calls of this process are forks of; return its socket."""
    folder = tempfile.TemporaryDirectory(prefix="preloaded-")
    place = f"{folder.name}/socket"
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "preloaded.py"), place],
        env=os.environ | {"PYTHONPATH": PATHS} | fast(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    def end() -> None:
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    return place


def fast() -> dict[str, str]:
    """Return what an interpreter's environment needs for quick products of matrices."""
    return {"LD_PRELOAD": str(FAST[0]), "OPENBLAS_NUM_THREADS": "1"} if FAST else {}


def load_fast() -> None:
    """Give this process quick products of matrices; call it before MLX is imported."""
    if FAST:
        with mock.patch.dict(os.environ, fast()):  # it reads the number of threads when loaded
            ctypes.CDLL(str(FAST[0]), ctypes.RTLD_GLOBAL)  # global names go before MLX's own


def never_sync() -> None:
    """Let this process's databases wait for no disk: no test cuts the power."""
    pragmas = db.engine.PRAGMAS
    pragmas[pragmas.index("synchronous=FULL")] = "synchronous=OFF"


def script(path: Path, line: str) -> Path:
    """Write a program of one line of bash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{line}\n")
    path.chmod(0o755)
    return path
