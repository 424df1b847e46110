"""Measure old commits, where a measurement tells most or every N."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from farm.campaign import campaign as measuring
from farm.campaign.campaign import Campaign
from farm.campaign.gate import reached
from farm.campaign.history import Night, measure, missing
from farm.campaign.lines import Line, lines
from farm.campaign.look_first import look_first
from farm.commands._arguments import (
    RESUMES,
    add_dry_run,
    add_json,
    add_measuring,
    add_repetitions,
    count,
    patience,
)
from farm.judge import most_telling
from farm.plan import commits as history
from farm.plan import inventory
from farm.plan import suite as suites
from farm.plan.inventory import Inventory
from farm.plan.rounds import exact
from farm.plan.suite import Suite
from worker.record import Record

MOST = 10  # commits to measure where nobody says how many
INTERRUPTED = RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("span", metavar="A..B", help="commits after A up to B")
    parser.add_argument("--every", type=count, metavar="N", help="every N-th commit")
    parser.add_argument(
        "--most", type=count, help="commits to measure (default: 10, or all of --every)"
    )
    add_measuring(parser, "gate")
    add_repetitions(parser)
    add_dry_run(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    suite = suites.load(args.suite)
    with measuring.campaign(known, args.db, "backfill", args.suite, suite.deadline) as campaign:
        return _measure(args, known, suite, campaign)


def _measure(args: argparse.Namespace, known: Inventory, suite: Suite, campaign: Campaign) -> int:
    good, _, bad = args.span.partition("..")
    span = history.between(known.subject, good, bad or "HEAD")
    commits = history.builds(known.subject, span, known.state / "builds")
    cells, hosts = reached(suites.cells(suite)), inventory.choose(known, args.host)
    night = Night(commits, cells, hosts, args.span, campaign)
    places = chosen(len(commits), lines(night), args.every, args.most)
    names = [commits[place].name for place in places]
    if not args.json:
        for name in names:
            print(name)
    records = [] if args.dry_run else _records(args, known, night, places)
    failed = [record for record in records if record.failure]
    if args.json:
        print(json.dumps({"commits": names, "jobs": len(records), "failed": len(failed)}))
    if not args.dry_run:
        print(f"{len(records)} jobs measured, {len(failed)} failed", file=sys.stderr)
    return 3 if failed else 0


def _records(
    args: argparse.Namespace, known: Inventory, night: Night, places: Sequence[int]
) -> Sequence[Record]:
    if not all(exact(cell) for cell in night.cells):
        look_first(known, night.hosts, night.campaign.tell, patience=patience(args))
    part = replace(night, history=[night.history[place] for place in places])
    return measure(part, missing(part, args.repetitions))


def chosen(size: int, lines: Sequence[Line], step: int | None, most: int | None) -> list[int]:
    """Return positions of the history to measure."""
    measured = sorted({position for line in lines for position in line.positions})
    if step:
        return most_telling.every(size, step, measured)[:most]
    values = {
        place: [
            line.values[line.positions.index(place)] if place in line.positions else 0.0
            for line in lines
        ]
        for place in measured
    }
    return most_telling.most_telling(size, values, most or MOST)
