"""Look a host over: what it knows of itself, what is wrong, and what would fix it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from farm.bootstrap import QUICK, Site
from farm.errors import HostError
from farm.table import aligned
from worker.environment.bundle import Bundle, replay
from worker.environment.check import problems


def ask(place: Site) -> Bundle:
    """Collect a host's raw answers over SSH; its harness must be there. Raises HostError."""
    done = place.connection.run(place.command("-m", "worker.environment", "--raw"), QUICK)
    try:
        return Bundle.model_validate_json(done.output)
    except ValidationError as error:
        told = (done.errors.strip() or "nothing").rpartition("\n")[2]
        raise HostError(
            f"host {place.connection.name!r}: does not tell of itself; it says: {told}"
        ) from error


def keep(bundles: Mapping[str, Bundle], folder: Path) -> None:
    """Write each host's raw answers to HOST.json: they can become golden cases of the parsers."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, bundle in bundles.items():
        (folder / f"{name}.json").write_text(bundle.model_dump_json(indent=2) + "\n")


def device(bundle: Bundle) -> str:
    """Name the device and say how many of its facts are known."""
    environment = replay(bundle)
    known, unknown = len(environment.facts), len(environment.unknown)
    return f"{environment.device}, {known} facts, {unknown} unknown"


def report(bundles: Mapping[str, Bundle]) -> str:
    """Return a table of what is wrong with each host; empty if nothing is."""
    rows = [
        [name, problem.severity, problem.message, problem.remedy]
        for name, bundle in bundles.items()
        for problem in problems(replay(bundle))
    ]
    return aligned(["host", "leads to", "problem", "remedy"], rows) if rows else ""
