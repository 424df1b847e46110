"""A build proves on each host that it computes there what it must, before it gives any figure.

A subject may offer a module ``conformance`` with ``require()``, which raises a RuntimeError where
the device fails and otherwise returns a report with ``attention_failures``: the names of kernels
that the subject leaves alone here. Then the first job of the build on a host runs it, whatever that
job measures, and later jobs find its answer in a file.

``python -m worker.conformance --builds DIR HASH`` prints the whole report as one JSON document, for
people elsewhere to see.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from worker.build import PACKAGE, activate
from worker.job import Wire


class DeviceFailsError(Exception):
    """A device that does not compute what the subject has to compute."""


def proved(build: Path, answers: Path, configuration: str) -> dict[str, Any]:
    """Return what the subject's check says of this device in this configuration.

    Raises DeviceFailsError where it fails; that is kept nowhere, so that a repair shows at once.
    """
    if not (build / PACKAGE / "conformance.py").exists():
        return {"golden_vectors": "not offered"}
    answer = answers / f"{build.name}-{configuration}.json"
    if not answer.exists():
        _keep(answer, _checked())
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def _checked() -> dict[str, Any]:
    try:
        report = importlib.import_module(f"{PACKAGE}.conformance").require()
    except RuntimeError as error:
        raise DeviceFailsError(str(error)) from error
    return {"golden_vectors": "passed", "left_alone": list(report.attention_failures)}


def _keep(answer: Path, found: dict[str, Any]) -> None:
    answer.parent.mkdir(parents=True, exist_ok=True)
    draft = answer.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(found))
    draft.replace(answer)


class Conformance(Wire):
    """What failed, by its name, and the largest error of attention by path.

    After a ``fatal`` failure no figure of a model with heads of these ``dimensions`` means anything
    on the device (neither is told by older builds);
    ``unknown`` says why nothing was checked, and is empty otherwise.
    """

    codec_failures: tuple[str, ...] = ()
    attention_failures: tuple[str, ...] = ()
    largest_error: dict[str, float] = {}
    fatal: tuple[str, ...] = ()
    dimensions: tuple[int, ...] = ()
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
