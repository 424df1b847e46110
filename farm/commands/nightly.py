"""Measure the newest commits and report regressions.

Safe to run twice and after days off: it measures what has no figures yet. Exits with 1 only when
it finds a regression that was not known before.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

from db import queries, store
from db.engine import open_database
from farm.campaign import campaign as measuring
from farm.campaign import night as nightly
from farm.campaign.campaign import Campaign
from farm.campaign.gate import reached
from farm.campaign.history import Night, missing
from farm.campaign.look_first import look_first
from farm.commands._arguments import (
    RESUMES,
    add_dry_run,
    add_json_report,
    add_measuring,
    add_repetitions,
    count,
    patience,
    positive,
)
from farm.errors import FarmError
from farm.judge.suspects import WINDOW
from farm.plan import commits as history
from farm.plan import inventory
from farm.plan import suite as suites
from farm.plan.inventory import Inventory
from farm.plan.rounds import exact
from farm.plan.suite import Suite
from farm.report import github, issues
from farm.report import night as night_report
from farm.report.night import Report
from worker.machine.environment.launchd import timetable
from worker.process.launch import exclusive

DAY = 86400.0
INTERRUPTED = RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--branch", default="HEAD", help="default: HEAD")
    add_measuring(parser, "gate")
    parser.add_argument("--commits", type=count, default=10, help="newest to measure (default: 10)")
    add_repetitions(parser)
    parser.add_argument(
        "--silence", type=positive, default=36.0, help="hours that alarm (default: 36)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report there too")
    add_json_report(parser)
    parser.add_argument(
        "--issues",
        action="store_true",
        help="open an issue on GitHub for each open regression, and close it when that is gone; "
        "where, and the token, come from GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN",
    )
    add_dry_run(parser)
    parser.add_argument(
        "--launchd",
        type=_time,
        metavar="HH:MM",
        help="print a LaunchDaemon that does this every night at that time, and nothing else",
    )
    parser.add_argument("--acknowledge", type=int, metavar="ID", help="accept a regression")
    parser.add_argument("--reason", help="why it is accepted")
    parser.add_argument("--days", type=positive, help="for how long (default: for good)")


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    if args.acknowledge is not None:
        return _acknowledge(args, known)
    if args.launchd is not None:
        return _print_timetable(args, known)
    if args.issues:
        github.of(os.environ, "issues")  # what is missing is said before the night, not after it
    suite = suites.load(args.suite)
    with measuring.campaign(known, args.db, "nightly", args.suite, suite.deadline) as campaign:
        return _run(args, known, suite, campaign)


def _run(args: argparse.Namespace, known: Inventory, suite: Suite, campaign: Campaign) -> int:
    names = history.revisions(known.subject, args.branch, WINDOW)
    commits = history.builds(known.subject, names, known.state / "builds")
    if not commits:
        raise FarmError(f"branch {args.branch!r}: no commit changes {known.subject.path}")
    cells, hosts = reached(suites.cells(suite)), inventory.choose(known, args.host)
    night = Night(commits, cells, hosts, args.branch, campaign)
    recent = replace(night, history=commits[-args.commits :])
    if args.dry_run:
        todo = missing(recent, args.repetitions)
        print(f"{len(commits)} builds of {args.branch}, {len(todo)} jobs to measure")
        return 0
    with exclusive(known.state / "nightly.lock"):
        if not all(exact(cell) for cell in cells):
            look_first(known, hosts, campaign.tell, patience=patience(args))
        report = nightly.run(night, recent, args.repetitions, args.silence * 3600)
    rows = (*report.fresh, *report.known, *report.withdrawn)
    told = {report.newest, *(name for row in rows for name in (row.good, row.bad))}
    said = {one.name: one for one in history.messages(known.subject, sorted(told))}
    return _tell(replace(report, said=said), args)


def _time(text: str) -> time.struct_time:
    try:
        return time.strptime(text, "%H:%M")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give one as 02:30") from error


def _print_timetable(args: argparse.Namespace, known: Inventory) -> int:
    suites.load(args.suite)
    inventory.choose(known, args.host)
    known.state.mkdir(parents=True, exist_ok=True)  # launchd makes no folder for its logs
    logs, at = PurePosixPath(known.state.resolve()), args.launchd
    printed = timetable(
        [sys.executable, "-m", "farm", "nightly", *_options(args)],
        getpass.getuser(),
        logs,
        str(Path.cwd()),
        at.tm_hour,
        at.tm_min,
    )
    sys.stdout.write(printed.decode())
    return 0


def _options(args: argparse.Namespace) -> list[str]:
    """Return the options that ask for the same night again."""
    options = ["--branch", args.branch, "--suite", args.suite]
    options += [word for host in args.host for word in ("--host", host)]
    options += ["--commits", str(args.commits), "--repetitions", str(args.repetitions)]
    options += ["--silence", str(args.silence)]
    options += ["--db", args.db] if args.db else []
    exists = args.inventory.exists()
    return [*options, "--inventory", str(args.inventory.resolve())] if exists else options


def _tell(report: Report, args: argparse.Namespace) -> int:
    text = night_report.markdown(report, time.time())
    print(text, end="")
    if args.markdown:
        args.markdown.write_text(text)
    if args.json:
        args.json.write_text(json.dumps(night_report.document(report)) + "\n")
    for failure in report.failures:
        print(f"failed: {failure}", file=sys.stderr)
    if args.issues:
        _settle_issues(report)
    if report.fresh:
        return 1
    return 3 if report.failures or report.silent or report.fruitless else 0


def _settle_issues(report: Report) -> None:
    """Open and close issues; what GitHub refuses changes nothing about the night."""
    try:
        for line in issues.settle(github.of(os.environ, "issues"), report):
            print(f"issue {line}", file=sys.stderr)
    except FarmError as error:
        print(f"issues: {error}; the next night tries again", file=sys.stderr)


def _acknowledge(args: argparse.Namespace, known: Inventory) -> int:
    engine = open_database(args.db or known.database)
    row = next((r for r in queries.regressions(engine) if r.id == args.acknowledge), None)
    if row is None:
        raise FarmError(f"--acknowledge {args.acknowledge}: no such regression; see farm nightly")
    if not args.reason:
        raise FarmError("--acknowledge: say why, with --reason")
    expires = time.time() + args.days * DAY if args.days else None
    changed = replace(
        row,
        state="acknowledged",
        author=getpass.getuser(),
        reason=args.reason,
        expires=expires,
    )
    store.record_regression(engine, changed)
    print(f"regression {row.id} is acknowledged: {args.reason}")
    return 0
