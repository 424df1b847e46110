"""What is dear to make is made once and kept between runs of the tests, by what it is made of.

It lies in the user's cache, so that worktrees and clones share it; ``FARM_TEST_CACHE`` names
another folder. What was not used for the longest time goes when there is more than ``MOST`` bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = Path(os.environ.get("FARM_TEST_CACHE") or HOME / "turbofarm-tests")
MOST = 1 << 30


def kept(name: str, made_of: bytes, make: Callable[[Path], None], folder: Path = FOLDER) -> Path:
    """Return the file that ``make`` writes; it must not be changed.

    ``made_of`` is all that it depends on. Two processes that want it at once make it once.
    """
    path = folder / f"{hashlib.sha256(made_of).hexdigest()[:24]}-{name}"
    if not path.exists():
        with _alone(folder / "locks", path.name[:2]):
            if not path.exists():
                unfinished = path.with_suffix(".unfinished")
                unfinished.unlink(missing_ok=True)
                make(unfinished)
                unfinished.rename(path)
        forget(folder, MOST)
    os.utime(path)
    return path


def forget(folder: Path, most: int) -> None:
    """Remove what was not used for the longest time, until the rest has at most so many bytes."""
    with _alone(folder / "locks", "forget"):
        for path in _too_much(folder, most):
            path.unlink(missing_ok=True)


def _too_much(folder: Path, most: int) -> Iterator[Path]:
    files = [one for one in folder.iterdir() if one.is_file() and one.suffix != ".unfinished"]
    size = 0
    for path in sorted(files, key=lambda one: one.stat().st_mtime, reverse=True):
        size += path.stat().st_size
        if size > most:
            yield path


@contextmanager
def _alone(locks: Path, name: str) -> Iterator[None]:
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sources(*folders: Path) -> bytes:
    """Return the text of every Python file below these folders, each after its name."""
    found = sorted((path, folder) for folder in folders for path in folder.rglob("*.py"))
    return b"".join(
        b"%s\0%s\0" % (str(path.relative_to(folder.parent)).encode(), path.read_bytes())
        for path, folder in found
    )
