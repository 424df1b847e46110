"""Look a machine over, in at most 5 minutes, and write what was found to a file for others."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from farm.campaign import doctor, identities, runs
from farm.campaign.doctor import Chart, Patient
from farm.commands._arguments import add_inventory
from farm.errors import FarmError, HostError
from farm.exchange import bundle
from farm.exchange.examination import Examination
from farm.hosts import checkup
from farm.hosts.bootstrap import harness_hash
from farm.hosts.reach import Reach
from farm.plan import builds, inventory
from farm.plan.inventory import Inventory
from farm.report import doctor as report
from farm.report.live import lines
from worker.machine.environment.bundle import replay
from worker.record import Environment, Record

SUITE = "doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("host", nargs="?", help="of the inventory (default: this machine)")
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE.zip", help="write all that was found, to be sent to us"
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="write the bundle without asking; it is shown all the same",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    add_inventory(parser)


def main(args: argparse.Namespace) -> int:
    if args.bundle:
        bundle.check_place(args.bundle)
        if not (args.yes or sys.stdin.isatty()):
            raise FarmError(f"--bundle {args.bundle}: nobody is here to say yes to it; add --yes")
    known = inventory.load(args.inventory)
    try:
        return _look_over(known, args)
    except HostError as error:  # it cannot be reached, or is lost before anything is known
        print(f"error: {error}", file=sys.stderr)
        return 3


def _look_over(known: Inventory, args: argparse.Namespace) -> int:
    with _patient(known, args.host) as patient:
        names = doctor.names(patient)
        chart = _examined(patient)
    names["name"] = identities.of_inventory(known, patient.name)
    examination, records = doctor.redacted(chart, names)
    if args.json:
        print(examination.model_dump_json(indent=2))
    else:
        _tell(examination)
    if args.bundle and _agreed(args, examination, records):
        _write(args.bundle, patient, examination, records)
    return 3 if any(finding.state == "wrong" for finding in examination.findings) else 0


@contextmanager
def _patient(known: Inventory, name: str | None) -> Iterator[Patient]:
    """Be ready to ask a host; one that is reached over SSH is brought up first."""
    folder = known.state / "builds"
    build, run = builds.working_tree(known.subject, folder), f"doctor-{runs.name()}"
    unpacked = folder / build.hash / "turbo"
    if name is not None:
        meant = inventory.choose(known, [name])
        if len(meant) > 1:
            raise FarmError(f"host {name!r}: is several hosts; name one of them")
        (name,) = meant
    if name is None or not known.hosts[name].address:
        state = str(known.state.resolve())
        yield Patient(name or "this machine", doctor.here, state, build, run)
        return

    with lines([name]) as shown:
        place = Reach(known.hosts, known.state, shown.tell).up(name, {build.hash: unpacked})
    try:
        yield Patient(name, doctor.over(place), place.folder, build, run)
    finally:
        place.connection.close()


def _examined(patient: Patient) -> Chart:
    """Do all checks, with a line that changes while one goes on."""
    with lines([patient.name]) as shown:
        return doctor.examine(patient, partial(shown.tell, patient.name))


def _rows(examination: Examination) -> list[report.Row]:
    return [(one.name, one.state, one.said, one.remedy) for one in examination.findings]


def _tell(examination: Examination) -> None:
    rows = _rows(examination)
    problems = checkup.of_bundle(examination.raw) if examination.raw else ()
    print(report.table(rows))
    told = [(one.message, one.remedy) for one in problems]
    if wanted := report.remedies(rows, told):
        print(f"\n{wanted}")
    environment = _environment(examination)
    if lacking := report.unknown(environment.unknown):
        print(f"\n{lacking}")
    print(f"\n{report.sentence(environment.device, rows)}")


def _environment(examination: Examination) -> Environment:
    return replay(examination.raw) if examination.raw else Environment()


def _agreed(args: argparse.Namespace, examination: Examination, records: list[Record]) -> bool:
    """Show all that will be written, then ask, unless that was answered beforehand."""
    print(f"\nAll that {args.bundle} will hold:\n", file=sys.stderr)
    for line in _shown(examination, records):
        print(line, file=sys.stderr)
    if args.yes:
        return True
    print(f"\nwrite {args.bundle}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _shown(examination: Examination, records: list[Record]) -> Iterator[str]:
    """Yield everything of a bundle as lines that people can read."""
    if examination.raw:
        yield f"# what the process knew\n{json.dumps(examination.raw.known.facts, indent=1)}"
        for command, output in examination.raw.outputs.items():
            yield f"# {command}\n{output.text.rstrip() or output.missing}"
    yield "# what was found"
    for part in (*examination.findings, *examination.kernels):
        yield part.model_dump_json()
    yield f"# canaries\n{json.dumps(examination.canaries)}"
    for record in records:
        yield f"# record\n{record.model_dump_json()}"


def _write(path: Path, patient: Patient, examination: Examination, records: list[Record]) -> None:
    build = patient.build.hash
    manifest = bundle.Manifest(
        run=patient.run,
        suite=SUITE,
        harness=harness_hash(),
        builds=(build,) if records else (),
        environment=_environment(examination),
        doctor=examination,
        records="",
    )
    bundle.write(path, manifest, records)
    print(f"{path}: written; whoever gets it: farm import {path.name}", file=sys.stderr)
