"""Histories whose culprit is known: ``python -m farm.bench.histories``.

``bisect`` over 16 commits of which one fails its golden vectors, and over 16 of which one scales
values by 1.02; a ``nightly`` killed with -9 and run again. By the commands that people use, over
bytes and quality, so that every record counts however busy the machine is. Prints a table; what
the terminal showed is kept with ``--keep FOLDER``.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from db import queries
from db.engine import open_database
from farm.bench.busy import SCALED, Place, beginning
from farm.bench.end_to_end import Repository, spoil_levels
from farm.report.forecast import clock
from farm.report.table import aligned

COMMITS = 16
WRONG, SCALES = 6, 10  # the commits at which it happens
KILLED_AFTER = 5  # records
NIGHT = 4  # commits
SUITE = """
description: what no load can change
models: [reference]
caches: {turbo: {kind: turbo, key_bits: 4, value_bits: 4}}
cells:
  - {benchmark: divergence, contexts: [512], params: {positions: 64}}
  - {benchmark: memory, contexts: [1024]}
"""


@dataclass
class History:
    """Commits of this checkout's cache that differ in a comment, but for one."""

    repository: Repository

    @classmethod
    def make(cls, root: Path, change: Callable[[Path], None], at: int) -> History:
        repository = beginning(root)
        for number in range(COMMITS):
            if number == at:
                change(root / "turbo")
            package = root / "turbo" / "__init__.py"
            package.write_text(f"{package.read_text()}# commit {number}\n")
            repository.commits.append(repository.commit(f"commit {number}"))
        return cls(repository)


def scale(package: Path) -> None:
    with (package / "__init__.py").open("a") as file:
        file.write(SCALED)


def bisected(place: Place, name: str, history: History, at: int) -> list[str]:
    """Ask for the culprit; return what came of it."""
    names = history.repository.commits
    options = ["--suite", "exact.yaml", "--cell", "divergence", "--metric", "kl_divergence"]
    code, output, seconds = place.farm(name, "bisect", names[0], names[-1], *options, "--json")
    found = json.loads(output.splitlines()[-1])
    if found["culprit"] is None:
        return [name, f"none: {found['reason']}", "-", "-", str(code), clock(seconds)]
    place_found = names.index(found["culprit"])
    told = f"commit {place_found}, {'right' if place_found == at else f'wrong: it is {at}'}"
    sure = f"{found['confidence']:.3f}"
    return [name, told, sure, str(found["probes"]), str(code), clock(seconds)]


def night(place: Place, history: History) -> list[list[str]]:
    """Kill a night once some records are stored, and run it again."""
    newest = history.repository.commits[NIGHT + 1]
    command = ["nightly", "--branch", newest, "--commits", str(NIGHT), "--suite", "exact.yaml"]

    def kill(process: subprocess.Popen[bytes], said: str) -> None:
        if process.poll() is None and said.count(" left\n") >= KILLED_AFTER:
            process.send_signal(signal.SIGKILL)

    rows = []
    for name, watch in (("night killed with -9", kill), ("the same night again", None)):
        code, _, seconds = place.farm(name, *command, watch=watch)
        stored = _stored(place)
        twice = sum(count > 1 for count in stored.values())
        told = f"{sum(stored.values())} of {2 * NIGHT} records, {twice} cells measured twice"
        rows.append([name, told, "-", "-", str(code), clock(seconds)])
    return rows


def _stored(place: Place) -> Counter[tuple[str, str]]:
    """Count the records of the nights that are good and count whole, by build and cell."""
    engine = open_database(str(place.folder / ".farm" / "farm.db"))
    records = [one for run in queries.runs(engine) for one in queries.records(engine, run.id)]
    good = [one for one in records if one.status == "ok" and not one.spoiled]
    return Counter((one.job.build.hash, one.job.cell.id) for one in good)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--keep", type=Path, help="folder for what the terminal showed")
    parser.add_argument("--only", default="", help="the steps whose title has this word")
    args = parser.parse_args()
    rows = []
    for name, change, at in (
        ("bisect a golden-vector failure", spoil_levels, WRONG),
        ("bisect a wrong scale", scale, SCALES),
        ("night", scale, SCALES),
    ):
        if args.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            history = History.make(root / "repository", change, at)
            place = Place(root, root / "repository", "turbo", args.keep)
            (root / "exact.yaml").write_text(SUITE)
            found = (
                night(place, history) if name == "night" else [bisected(place, name, history, at)]
            )
        rows += found
        print(*found, sep="\n", flush=True)
    print(aligned(["step", "answer", "sure", "probes", "exit", "minutes"], rows))


if __name__ == "__main__":
    main()
