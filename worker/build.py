"""Prove which bytes of the subject run: the name of a build is the hash of its files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path, PurePath

#: The name under which the subject is imported, for the working tree as for any commit.
PACKAGE = "turbo"


class BuildMismatchError(Exception):
    """The bytes found on this host are not the build that the job names."""


def files_hash(files: Iterable[tuple[str, bytes]]) -> str:
    """Name a set of files by path and content: 16 hexadecimal digits of SHA-256."""
    total = hashlib.sha256()
    for path, content in sorted(files):
        total.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def tree_hash(folder: Path) -> str:
    """Name a package's folder by its files; see ``counts`` for which."""
    paths = [
        path for path in folder.rglob("*") if path.is_file() and counts(path.relative_to(folder))
    ]
    return files_hash((path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)


def activate(builds: Path, expected: str) -> str:
    """Put the build named ``expected`` first on this process's path and return its true hash.

    Raises BuildMismatchError if it is absent or its bytes have another hash.
    """
    root = builds / expected
    if not (root / PACKAGE).is_dir():
        raise BuildMismatchError(
            f"build {expected} is not on this host ({root}); run farm run again"
        )
    found = tree_hash(root / PACKAGE)
    if found != expected:
        raise BuildMismatchError(
            f"{root} holds build {found}, not {expected}; delete it and run again"
        )
    sys.path.insert(0, str(root))
    return found


def counts(path: PurePath) -> bool:
    """Tell whether a file of the package belongs to the build; documents and scripts do not."""
    ignored = {"__pycache__", "bench"}
    hidden = any(part in ignored or part.startswith(".") for part in path.parts)
    return not hidden and path.suffix != ".md"
