"""Tell what this host knows of itself and what is wrong with it, as one JSON document.

``ssh HOST python -m worker.environment`` works without Ray and without a job.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
import sys
from pathlib import Path, PurePosixPath

from worker.environment.bundle import collect, replay
from worker.environment.check import problems
from worker.environment.launchd import service


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.environment", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="also write all raw outputs to this file")
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
    environment = replay(bundle)
    found = [dataclasses.asdict(problem) for problem in problems(environment)]
    document = {"environment": environment.model_dump(mode="json"), "problems": found}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
