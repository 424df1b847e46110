"""Measure old commits, where a measurement tells most or every N."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from farm.campaign import campaign as measuring
from farm.campaign.campaign import Campaign
from farm.campaign.gate import reached
from farm.campaign.history import Night, measure, missing
from farm.campaign.lines import Line, lines
from farm.campaign.look_first import look_first
from farm.commands._arguments import (
    add_anyway,
    add_database,
    add_hosts,
    add_inventory,
    add_suite,
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

MOST = 10  # commits to measure where nobody says how many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("span", metavar="A..B", help="commits after A up to B")
    parser.add_argument("--every", type=count, metavar="N", help="every N-th commit")
    parser.add_argument(
        "--most", type=count, help="commits to measure (default: 10, or all of --every)"
    )
    add_suite(parser, "gate")
    add_hosts(parser)
    parser.add_argument(
        "--repetitions", type=count, default=1, help="processes a cell (default: 1)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan, measure nothing")
    add_database(parser)
    add_inventory(parser)
    add_anyway(parser)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    suite = suites.load(args.suite)
    with measuring.campaign(known, args.db, "backfill", args.suite, suite.deadline) as campaign:
        return _measure(args, known, suite, campaign)


def _measure(args: argparse.Namespace, known: Inventory, suite: Suite, campaign: Campaign) -> int:
    good, _, bad = args.span.partition("..")
    names = history.between(known.subject, good, bad or "HEAD")
    commits = history.builds(known.subject, names, known.state / "builds")
    cells, hosts = reached(suites.cells(suite)), inventory.choose(known, args.host)
    night = Night(commits, cells, hosts, args.span, campaign)
    places = chosen(len(commits), lines(night), args.every, args.most)
    for place in places:
        print(commits[place].name)
    if args.dry_run:
        return 0
    if not all(exact(cell) for cell in cells):
        look_first(known, hosts, campaign.tell, patience=patience(args))
    one = Night([commits[place] for place in places], cells, hosts, args.span, campaign)
    records = measure(one, missing(one, args.repetitions))
    failed = [record for record in records if record.failure]
    print(f"{len(records)} jobs measured, {len(failed)} failed", file=sys.stderr)
    return 3 if failed else 0


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
