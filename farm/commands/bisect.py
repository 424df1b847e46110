"""Find the commit that made a series worse, measuring only what it must."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial

from farm.campaign import campaign as measuring
from farm.campaign.bisect import Search, is_wrong
from farm.campaign.campaign import Campaign
from farm.campaign.gate import reached
from farm.campaign.look_first import look_first
from farm.commands._arguments import RESUMES, add_json, add_measuring, count, patience
from farm.errors import FarmError
from farm.judge import posterior
from farm.judge.cell_gate import SeriesVerdict
from farm.judge.posterior import Found
from farm.plan import builds, commits, inventory
from farm.plan import suite as suites
from farm.plan.commits import Commit
from farm.plan.inventory import Inventory
from farm.plan.suite import Suite
from farm.report.commit_line import commit_line
from worker.job import Cell
from worker.metrics import METRICS

INTERRUPTED = RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("good", metavar="GOOD", help="revision before the change")
    parser.add_argument("bad", metavar="BAD", help="revision after it")
    parser.add_argument(
        "--cell", help="benchmark, or the start of a cell's id (default: the first)"
    )
    parser.add_argument("--metric", default="generation_tps", choices=sorted(METRICS))
    add_measuring(parser, "gate")
    parser.add_argument("--most", type=count, default=20, help="probes (default: 20)")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    suite = suites.load(args.suite)
    with measuring.campaign(known, args.db, "bisect", args.suite, suite.deadline) as campaign:
        return _find(args, known, _search(args, known, suite, campaign))


def _find(args: argparse.Namespace, known: Inventory, search: Search) -> int:
    if not METRICS[args.metric].exact:
        look_first(known, search.hosts[:1], search.campaign.tell, patience=patience(args))
    whole = search.whole()
    outcome = whole.verdict.outcome
    if outcome not in {"regress", "improve"}:
        told = whole.note or f"no change between {args.good} and {args.bad} to look for"
        reason = f"{outcome}: {told}"
        print(json.dumps({"culprit": None, "reason": reason}) if args.json else reason)
        return 3 if outcome == "invalid" else 4
    found = search.find(whole, args.most)
    said = {one.name: one for one in commits.messages(known.subject, found.suspects)}
    lines = [commit_line(name, said.get(name)) for name in (found.culprit, *found.suspects)]
    if args.json:
        print(json.dumps(vars(found) | {"commit": lines[0]}))
    else:
        print(_text(found, lines, search, whole))
    return 0 if found.confidence >= posterior.CERTAIN else 4


def _search(args: argparse.Namespace, known: Inventory, suite: Suite, campaign: Campaign) -> Search:
    folder = known.state / "builds"
    names = commits.between(known.subject, args.good, args.bad)
    good = commits.resolve(known.subject, args.good)
    return Search(
        Commit(good, builds.at_commit(known.subject, good, folder)),
        [Commit(name, builds.at_commit(known.subject, name, folder)) for name in names],
        chosen(reached(suites.cells(suite)), args.cell),
        args.metric,
        inventory.choose(known, args.host),
        campaign,
        partial(print, file=sys.stderr),
    )


def chosen(cells: Sequence[Cell], wanted: str | None) -> Cell:
    """Return the cell that a benchmark's name or the start of an id means."""
    found = [cell for cell in cells if not wanted or wanted == cell.benchmark]
    found = found or [cell for cell in cells if wanted and cell.id.startswith(wanted)]
    if not found:
        names = ", ".join(f"{cell.benchmark} ({cell.id})" for cell in cells)
        raise FarmError(f"--cell {wanted}: not in the suite; choose from: {names}")
    return found[0]


def _text(found: Found, commits_told: Sequence[str], search: Search, whole: SeriesVerdict) -> str:
    culprit, *suspects = commits_told
    probes = f"{found.probes} {search.probed_by(whole)}"
    lines = [f"{culprit} is the culprit: {found.confidence:.1%} sure, after {probes}"]
    if len(suspects) > 1:
        lines.append(f"one of: {', '.join(suspects)}")
    if found.skipped:
        lines.append(f"could not be measured: {', '.join(found.skipped)}")
    series = whole.note if is_wrong(whole) else f"{search.metric} of {search.cell.benchmark}"
    return "\n".join([*lines, f"series: {series}"])
