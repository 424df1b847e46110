"""Run a suite on the hosts and store every record."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from db import queries, store
from db.engine import Engine, open_database
from farm.campaign import described, identities, reruns, runs, spool
from farm.campaign.coordinator import open_dispatch
from farm.campaign.look_first import here_among, look_first
from farm.campaign.runs import Run
from farm.commands._arguments import add_measuring, patience
from farm.engines.choice import ENGINES
from farm.exchange import bundle, bundling
from farm.exchange.redaction import Redaction
from farm.plan import builds, inventory
from farm.plan import suite as suites
from farm.plan.rounds import exact
from farm.report import run as report
from farm.report.forecast import Forecast
from farm.report.live import say
from farm.report.progress import watched
from worker.job import Job
from worker.record import Record

INTERRUPTED = "what was measured is kept; continue with: farm run --resume"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_measuring(parser, "default")
    _add_measured(parser)
    parser.add_argument(
        "--again",
        type=int,
        choices=range(10),
        default=1,
        metavar="N",
        help="measure a disturbed job again, up to N times (default: 1)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the records as JSON lines, at last a summary"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FILE.zip", help="also write all of the run to send it away"
    )


def _add_measured(parser: argparse.ArgumentParser) -> None:
    """Add what says which jobs a run has."""
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
    parser.add_argument(
        "--resume", action="store_true", help="continue the newest run that is not finished"
    )


def main(args: argparse.Namespace) -> int:
    if args.bundle:
        bundle.check_place(args.bundle)
    known = inventory.load(args.inventory)
    if args.engine:
        known = known.model_copy(update={"engine": args.engine})
    folder = known.state / "builds"
    engine = open_database(args.db or known.database)
    run = runs.unfinished(engine) if args.resume else _begun(engine, args, known, folder)
    jobs = queries.pending_jobs(engine, run.id)
    print(f"run {run.id}: suite {run.suite}, {len(jobs)} jobs", file=sys.stderr)
    if not all(exact(job.cell) for job in jobs):
        look_first(known, {job.host for job in jobs}, say, patience=patience(args))
    _measure(engine, run, jobs, known, args)
    waiting = queries.pending_jobs(engine, run.id)
    if args.bundle:
        _send_off(engine, run, args.bundle, known)
    status = _tell(queries.records(engine, run.id), queries.wall(engine, run.id), args)
    for host, count in Counter(job.host for job in waiting).items():
        paused = f"{host}: {count} jobs wait, it is paused; farm hosts resume {host}"
        print(f"{paused}, then: farm run --resume", file=sys.stderr)
    return 3 if waiting else status


def _send_off(engine: Engine, run: Run, path: Path, known: inventory.Inventory) -> None:
    records = queries.records(engine, run.id)
    redaction = Redaction(identities.of_hosts(known, {record.place for record in records}))
    folder = known.state / "builds"
    bundling.send_off(path, run.id, run.suite, records, folder, redaction)
    print(f"{path}: all of the run; whoever gets it: farm import {path.name}", file=sys.stderr)


def _setting(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE, the value as JSON."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, as in trials=3") from error


def _begun(
    engine: Engine, args: argparse.Namespace, known: inventory.Inventory, folder: Path
) -> Run:
    suite = suites.load(args.suite)
    hosts = inventory.targets(known, args.host)
    wanted = suites.adapted(suites.cells(suite), args.model, dict(args.set))
    if args.commit:
        build = builds.at_commit(known.subject, args.commit, folder)
    else:
        build = builds.working_tree(known.subject, folder)
    places = [(build, cell, host) for cell in wanted for host in hosts]
    if args.parent:
        before = runs.parent(known, build, folder)
        places = [*runs.missing(engine, before, wanted, hosts), *places]
    return runs.begun(engine, args.suite, places, suite.deadline, suite.rounds)


def _measure(
    engine: Engine,
    run: Run,
    jobs: Sequence[Job],
    known: inventory.Inventory,
    args: argparse.Namespace,
) -> None:
    """Measure and store, and what was disturbed again, up to ``--again`` times."""
    begun = time.perf_counter()
    forecast = Forecast(queries.typical_seconds(engine), queries.benchmark_seconds(engine))
    try:
        with open_dispatch(known, engine, say) as dispatch:
            for left in range(args.again, -1, -1):
                records = []
                for record in watched(jobs, dispatch, forecast):
                    spool.store(engine, record, known.state / "spool")
                    records.append(record)
                done = queries.records(engine, run.id)
                jobs = _worth_it(reruns.again(records, done), known, args) if left else []
                if not jobs:
                    break
                store.record_run(engine, run.id, run.suite, time.time(), jobs)
    finally:
        store.record_wall(engine, run.id, time.perf_counter() - begun)
        described.complete(engine, known.subject)


def _worth_it(
    jobs: Sequence[Job], known: inventory.Inventory, args: argparse.Namespace
) -> list[Job]:
    """Return the disturbed jobs that are worth another try: not while this machine stays busy."""
    if not jobs:
        return []
    say(f"{len(jobs)} jobs, disturbed or compared with such, are to be measured again")
    if not look_first(known, {job.host for job in jobs}, say, patience=patience(args)):
        return list(jobs)
    say("this machine's jobs are not measured again while that lasts; later: farm run")
    mine = here_among(known, {job.host for job in jobs})
    return [job for job in jobs if job.host not in mine]


def _tell(records: Sequence[Record], wall: float, args: argparse.Namespace) -> int:
    if args.json:
        for record in records:
            print(record.model_dump_json())
        print(json.dumps({"summary": report.summary(records)}))
    else:
        print(report.table(records), report.overhead(records, wall), sep="\n\n")
        print("\nsee it in the dashboard: make dashboard   (or: farm dashboard)")
    for doubt in report.doubts(records):
        print(doubt, file=sys.stderr)
    failed = [record for record in records if record.failure]
    for record in failed:
        print(report.failure(record), file=sys.stderr)
    return 3 if failed else 0
