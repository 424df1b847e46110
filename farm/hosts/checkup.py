"""Look a host over: what it knows of itself, what is wrong, and what would fix it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from farm.errors import FarmError, HostError
from farm.hosts.answers import QUICK
from farm.hosts.bootstrap import Site
from farm.hosts.said import telling
from farm.report.table import aligned
from worker.machine.environment.bundle import Bundle, replay
from worker.machine.environment.check import Problem, of_disk, problems
from worker.process import harness

#: Seconds by which a host's clock may be wrong before it is a problem.
CLOCK_OFF = 5.0
GOLDEN = "worker.turbo"


def ask(place: Site) -> Bundle:
    """Collect a host's raw answers over SSH; its harness must be there. Raises HostError."""
    done = place.connection.run(place.command("-m", "worker.machine.environment", "--raw"), QUICK)
    try:
        return Bundle.model_validate_json(done.output)
    except ValidationError as error:
        told = telling(done.errors) or "nothing"
        raise HostError(
            f"host {place.connection.name!r}: does not tell of itself; it says: {told}"
        ) from error


def prove(place: Site) -> str:
    """Compare a host with the golden vectors over SSH; raises FarmError where it fails."""
    done = place.connection.run(place.command("-m", GOLDEN), QUICK)
    return verdict(place.connection.name, done.output, done.errors)


def prove_here(name: str) -> str:
    """Compare this machine with the golden vectors, in a process of its own."""
    done = subprocess.run(
        harness.command(GOLDEN),
        env=harness.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return verdict(name, done.stdout, done.stderr)


def verdict(name: str, output: str, errors: str) -> str:
    """Say which ways of attention a host's report allows; raises FarmError if it allows none."""
    try:
        report = dict(json.loads(output))
        failures, fatal = list(report["attention_failures"]), list(report["fatal"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        told = telling(errors) or "nothing"
        raise FarmError(
            f"host {name!r}: does not run the golden vectors; it says: {told}"
        ) from error
    if fatal:
        raise FarmError(
            f"host {name!r}: fails the golden vectors {', '.join(fatal)}, so it gives no figures; "
            "install the pinned mlx there anew, or on CUDA set MLX_ENABLE_TF32=0"
        )
    if failures:
        return f"golden vectors pass on the portable path; left alone: {', '.join(failures)}"
    return f"golden vectors pass: {', '.join(report['largest_error'])} attention"


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


def of_host(clock: float, free: int) -> list[Problem]:
    """Judge what is known of a host before anything of ours is there: clock and disk."""
    found = list(of_disk(free))
    if abs(clock) > CLOCK_OFF:
        way = "ahead of" if clock > 0 else "behind"
        wrong = f"its clock is {abs(clock):.0f} s {way} this machine's"
        found.append(
            Problem("clock", "risk", wrong, "set it; on a Mac: sudo sntp -sS time.apple.com")
        )
    return found


def report(found: Mapping[str, Sequence[Problem]]) -> str:
    """Return a table of what is wrong with each host; empty if nothing is."""
    rows = [
        [name, problem.severity, problem.message, problem.remedy]
        for name, its in found.items()
        for problem in its
    ]
    return aligned(["host", "leads to", "problem", "remedy"], rows) if rows else ""


def of_bundle(bundle: Bundle) -> tuple[Problem, ...]:
    """Judge all that a host tells of itself."""
    return problems(replay(bundle))
