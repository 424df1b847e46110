"""Tell what this host knows of itself and what is wrong with it, as one JSON document.

``ssh HOST python -m worker.machine.environment`` works without Ray and without a job.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from worker.machine.environment.bundle import collect, replay
from worker.machine.environment.check import problems
from worker.machine.environment.facts import FACTS
from worker.machine.environment.launchd import service
from worker.record import Environment


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m worker.machine.environment", description=__doc__
    )
    parser.add_argument("--bundle", type=Path, help="also write all raw outputs to this file")
    parser.add_argument(
        "--raw", action="store_true", help="print all raw outputs instead, understanding nothing"
    )
    parser.add_argument(
        "--table", action="store_true", help="print each fact with its unit and meaning instead"
    )
    parser.add_argument(
        "--launchd",
        nargs=argparse.REMAINDER,
        help="print a LaunchDaemon that keeps this command running, and nothing else",
    )
    args = parser.parse_args()
    if args.launchd:
        logs = PurePosixPath("/var/log")
        sys.stdout.write(service(args.launchd, getpass.getuser(), logs).decode())
        return
    bundle = collect()
    if args.bundle:
        args.bundle.write_text(bundle.model_dump_json(indent=2) + "\n")
    if args.raw:
        sys.stdout.write(bundle.model_dump_json() + "\n")
        return
    environment = replay(bundle)
    if args.table:
        sys.stdout.writelines(f"{line}\n" for line in table(environment))
        return
    found = [dataclasses.asdict(problem) for problem in problems(environment)]
    document = {"environment": environment.model_dump(mode="json"), "problems": found}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def table(environment: Environment) -> Iterator[str]:
    """Yield a line for each fact: its value and meaning, or why it is unknown."""
    for name, meaning in sorted(FACTS.items()):
        if name in environment.facts:
            value = environment.facts[name]
            unit = "" if isinstance(value, str) else meaning.unit
            yield f"{name:24} {f'{value} {unit}':40} {meaning.text}"
        elif name in environment.unknown:
            yield f"{name:24} {'unknown':40} {environment.unknown[name]}"


if __name__ == "__main__":
    main()
