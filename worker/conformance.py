"""Whether this device computes a build's golden vectors as it must, for people elsewhere to see.

``python -m worker.conformance --builds DIR HASH`` prints it as one JSON document. A build's own
cache checks the same before it may be measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
from pathlib import Path

from worker.build import PACKAGE, activate
from worker.job import Wire


class Conformance(Wire):
    """What failed, by its name, and the largest error of attention by path.

    ``unknown`` says why nothing was checked, and is empty otherwise.
    """

    codec_failures: tuple[str, ...] = ()
    attention_failures: tuple[str, ...] = ()
    largest_error: dict[str, float] = {}
    unknown: str = ""

    @property
    def passed(self) -> bool:
        return not (self.codec_failures or self.attention_failures or self.unknown)


def check(builds: Path, build: str) -> Conformance:
    """Check one build in this process; another subject may have no vectors."""
    activate(builds, build)
    try:
        subject = importlib.import_module(f"{PACKAGE}.conformance")
    except ModuleNotFoundError as error:
        return Conformance(unknown=f"the build has no golden vectors: {error}")
    return Conformance.model_validate(dataclasses.asdict(subject.check()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.conformance", description=__doc__)
    parser.add_argument("--builds", type=Path, required=True, help="folder of unpacked builds")
    parser.add_argument("build", help="hash of the build")
    args = parser.parse_args()
    sys.stdout.write(check(args.builds, args.build).model_dump_json() + "\n")


if __name__ == "__main__":
    main()
