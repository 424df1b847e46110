"""Run a suite on the hosts and store every record."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from db import queries, store
from db.engine import open_database
from farm import builds, bundle, bundling, history, inventory, report, reruns, spool, suites
from farm.engines import ENGINES, open_dispatch
from farm.errors import FarmError
from farm.progress import watched
from worker.job import Build, Cell, Job
from worker.record import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", default="default", help="name or YAML file (default: default)")
    parser.add_argument(
        "--host", action="append", default=[], help="only this host; may be repeated"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, help="how to reach other machines (default: the inventory's)"
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help="another model than the suite's: a hub id, a folder or a .gguf file; may be repeated",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="another value of a benchmark's parameter, e.g. context=1024; may be repeated",
    )
    parser.add_argument("--commit", help="measure the subject at this revision, not as on disk")
    parser.add_argument(
        "--parent",
        action="store_true",
        help="measure the commit before too, where it has no good record of a cell yet",
    )
    parser.add_argument("--db", help="database file (default: as the inventory says)")
    parser.add_argument("--inventory", type=Path, default=inventory.FILE)
    parser.add_argument(
        "--resume", action="store_true", help="continue the newest run that is not finished"
    )
    parser.add_argument(
        "--again",
        type=int,
        choices=range(10),
        default=1,
        metavar="N",
        help="measure a disturbed job again, up to N times (default: 1)",
    )
    parser.add_argument("--json", action="store_true", help="print the records as JSON lines")
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE.zip", help="also write all of the run to send it away"
    )


def main(args: argparse.Namespace) -> int:
    if args.bundle:
        bundle.check_place(args.bundle)
    known = inventory.load(args.inventory)
    if args.engine:
        known = known.model_copy(update={"engine": args.engine})
    folder = known.state / "builds"
    engine = open_database(args.db or known.database)
    run = _unfinished(engine) if args.resume else _begin(engine, args, known, folder)
    jobs = queries.pending_jobs(engine, run.id)
    print(f"run {run.id}: suite {run.suite}, {len(jobs)} jobs", file=sys.stderr)
    _measure(engine, run, jobs, known, args.again)
    waiting = queries.pending_jobs(engine, run.id)
    if args.bundle:
        _send_off(engine, run, args.bundle, folder)
    status = _tell(queries.records(engine, run.id), queries.wall(engine, run.id), args)
    for host, count in Counter(job.host for job in waiting).items():
        paused = f"{host}: {count} jobs wait, it is paused; farm hosts resume {host}"
        print(f"{paused}, then: farm run --resume", file=sys.stderr)
    return 3 if waiting else status


def _send_off(engine: Engine, run: _Run, path: Path, builds: Path) -> None:
    records = queries.records(engine, run.id)
    bundling.send_off(path, run.id, run.suite, records, builds)
    print(f"{path}: all of the run; whoever gets it: farm import {path.name}", file=sys.stderr)


def _setting(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE, the value as JSON."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, as in trials=3") from error


@dataclass(frozen=True)
class _Run:
    id: str
    suite: str


def _begin(
    engine: Engine, args: argparse.Namespace, known: inventory.Inventory, folder: Path
) -> _Run:
    suite = suites.load(args.suite)
    hosts = inventory.targets(known, args.host)
    wanted = suites.adapted(suites.cells(suite), args.model, dict(args.set))
    if args.commit:
        build = builds.at_commit(known.subject, args.commit, folder)
    else:
        build = builds.working_tree(known.subject, folder)
    places = [(build, cell, host) for cell in wanted for host in hosts]
    if args.parent:
        places = [*_missing(engine, _parent(known, build, folder), wanted, hosts), *places]
    run = _Run(
        f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}", args.suite
    )
    jobs = [
        Job(run=run.id, host=host, build=build, cell=cell, deadline=suite.deadline)
        for build, cell, host in places
    ]
    store.record_run(engine, run.id, run.suite, time.time(), jobs)
    return run


def _parent(known: inventory.Inventory, build: Build, folder: Path) -> Build:
    """Return the build before: of a dirty tree its commit, otherwise the last other bytes."""
    if build.commit is None:
        raise FarmError(f"--parent: {known.subject.path} is in no git repository; leave it out")
    if build.dirty:
        return builds.at_commit(known.subject, build.commit, folder)
    for name in history.revisions(known.subject, build.commit)[-2::-1]:
        earlier = builds.at_commit(known.subject, name, folder)
        if earlier.hash != build.hash:
            return earlier
    raise FarmError(f"--parent: {build.commit} is the first commit of the subject; leave it out")


def _missing(
    engine: Engine, build: Build, cells: Sequence[Cell], hosts: Sequence[str]
) -> list[tuple[Build, Cell, str]]:
    """Return where a build has no record that counts; of a class, any host's will do."""
    known = queries.measured(engine, build.hash)
    return [(build, cell, host) for cell in cells for host in hosts if (cell.id, host) not in known]


def _unfinished(engine: Engine) -> _Run:
    found = next((run for run in queries.runs(engine) if run.records < run.jobs), None)
    if found is None:
        raise FarmError("--resume: every run is finished; start one with: farm run")
    return _Run(found.id, found.suite)


def _measure(
    engine: Engine, run: _Run, jobs: Sequence[Job], known: inventory.Inventory, rounds: int
) -> None:
    """Measure and store, and what was disturbed again in up to ``rounds`` more rounds."""
    begun = time.perf_counter()
    expected = queries.typical_seconds(engine)
    try:
        with open_dispatch(known, engine, partial(print, file=sys.stderr)) as dispatch:
            for left in range(rounds, -1, -1):
                records = []
                for record in watched(jobs, dispatch, expected):
                    spool.store(engine, record, known.state / "spool")
                    records.append(record)
                jobs = reruns.again(records) if left else []
                if not jobs:
                    break
                print(f"{len(jobs)} jobs were disturbed and are measured again", file=sys.stderr)
                store.record_run(engine, run.id, run.suite, time.time(), jobs)
    finally:
        store.record_wall(engine, run.id, time.perf_counter() - begun)


def _tell(records: Sequence[Record], wall: float, args: argparse.Namespace) -> int:
    if args.json:
        for record in records:
            print(record.model_dump_json())
    else:
        print(report.table(records), report.overhead(records, wall), sep="\n\n")
        print("\nsee it in the dashboard: make dashboard   (or: farm dashboard)")
    for doubt in report.doubts(records):
        print(doubt, file=sys.stderr)
    failed = [record for record in records if record.failure]
    for record in failed:
        print(report.failure(record), file=sys.stderr)
    return 3 if failed else 0
