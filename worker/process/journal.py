"""What a long job has measured so far, on disk: when it is started again it goes on from there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from worker.job import Wire
from worker.record import Sample


class _Entry(Wire):
    key: str
    samples: tuple[Sample, ...]


class Journal:
    """The parts of one job that are done, each under a key; ``path`` is named for the job."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = {entry.key: entry.samples for entry in _read(path)}

    def done(self, key: str) -> tuple[Sample, ...] | None:
        """Return the samples of a part, or None if it is still to be measured."""
        return self._done.get(key)

    def keep(self, key: str, samples: Iterable[Sample]) -> tuple[Sample, ...]:
        """Write the samples of a part down, and return them."""
        entry = _Entry(key=key, samples=tuple(samples))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            # A line that a killed process left unfinished must not swallow this one.
            file.write(f"\n{entry.model_dump_json()}\n")
        return entry.samples

    def discard(self) -> None:
        """Delete it: the job has its record."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> list[_Entry]:
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            entries.append(_Entry.model_validate_json(line))
        except ValidationError:
            continue  # cut off by a kill, and measured again
    return entries
