"""What is dear to make is made once and kept between runs of the tests, by what it is made of."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".test_cache"


def kept(name: str, made_of: bytes, make: Callable[[Path], None]) -> Path:
    """Return the file that ``make`` writes; it must not be changed.

    ``made_of`` is all that it depends on. Two processes that want it at once make it once.
    """
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{hashlib.sha256(made_of).hexdigest()[:24]}-{name}"
    with (FOLDER / f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            unfinished.unlink(missing_ok=True)
            make(unfinished)
            unfinished.rename(path)
    return path


def sources(*folders: Path) -> bytes:
    """Return the text of every Python file below these folders, each after its name."""
    found = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return b"".join(b"%s\0%s\0" % (str(path).encode(), path.read_bytes()) for path in found)
