"""Judge a commit against another: pass, regress or inconclusive.

Both builds are measured now, in pairs of fresh processes, with this farm's harness.
"""

from __future__ import annotations

import argparse
import json
import math
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from db.verdicts import verdicts as stored
from farm import builds, error_rates, inventory, measuring, suites, verdict_report
from farm.error_rates import advisory
from farm.gate import SeriesVerdict, outcome
from farm.gating import Gate, expected_seconds, judged, reached
from farm.injected import injected
from farm.inventory import Inventory
from farm.measuring import Campaign
from farm.session import Arms
from farm.suites import Injection, Suite
from farm.verdict import EXIT_CODES
from worker.job import Build


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="BASE", help="revision to compare with")
    parser.add_argument("head", metavar="HEAD", nargs="?", help="default: the subject as on disk")
    parser.add_argument("--suite", default="gate", help="name or YAML file (default: gate)")
    parser.add_argument("--host", action="append", default=[], help="only this; may be repeated")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a report for people")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a report for programs")
    parser.add_argument("--seed", type=int, help="draws the order in the pairs (default: random)")
    parser.add_argument(
        "--identical", action="store_true", help="measure identical builds too, as A/A data"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan, measure nothing")
    parser.add_argument("--db", help="database file (default: as the inventory says)")
    parser.add_argument("--inventory", type=Path, default=inventory.FILE)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    suite = suites.load(args.suite)
    gate = _gate(args, known, suite)
    with measuring.campaign(known, args.db, "gate", args.suite, suite.deadline) as campaign:
        return _judge(args, gate, campaign)


def _judge(args: argparse.Namespace, gate: Gate, campaign: Campaign) -> int:
    if args.dry_run:
        print(_plan(gate, campaign))
        return 0
    if gate.identical:
        same = f"pass: both are build {gate.arms.baseline.hash}, nothing to measure"
        print(f"{same}; --identical makes it A/A data")
        return 0
    verdicts = []
    for series in judged(gate, campaign):
        print(*verdict_report.row(series), file=sys.stderr)
        verdicts.append(series)
    return _tell(verdicts, gate, campaign, args)


def _gate(args: argparse.Namespace, known: Inventory, suite: Suite) -> Gate:
    folder = known.state / "builds"
    base = builds.at_commit(known.subject, args.base, folder)
    if suite.injection is None:
        head = (
            builds.at_commit(known.subject, args.head, folder)
            if args.head
            else builds.working_tree(known.subject, folder)
        )
        arms, share = Arms(base, head), 0.0 if args.identical and base.hash == head.hash else None
    else:
        arms, share = _slowed(base, suite.injection, folder), suite.injection.share
    return Gate(
        arms,
        reached(suites.cells(suite)),
        tuple(inventory.choose(known, args.host)),
        secrets.randbelow(2**31) if args.seed is None else args.seed,
        share,
        suite.pairs,
    )


def _slowed(base: Build, injection: Injection, folder: Path) -> Arms:
    """Wrap a build twice, so that the wrapper itself makes no difference."""
    now = time.time()
    level = injection.model_copy(update={"share": 0.0})
    return Arms(injected(base, level, folder, now), injected(base, injection, folder, now))


def _plan(gate: Gate, campaign: Campaign) -> str:
    seconds = expected_seconds(gate, campaign)
    time_needed = "unknown" if math.isnan(seconds) else f"about {seconds / 60:.0f} minutes"
    lines = [
        f"{host}: {cell.benchmark} {cell.params}" for host in gate.hosts for cell in gate.cells
    ]
    return "\n".join(
        [
            f"baseline {gate.arms.baseline.hash}, candidate {gate.arms.candidate.hash}",
            *lines,
            f"time: {time_needed}; 10 to 60 pairs each, twice where one regresses",
        ]
    )


def _tell(
    verdicts: Sequence[SeriesVerdict], gate: Gate, campaign: Campaign, args: argparse.Namespace
) -> int:
    joint = outcome(verdicts)
    revisions = [args.base, args.head] if args.head else [args.base]
    options = ["--suite", args.suite, "--seed", str(gate.seed)]
    reproduce = shlex.join(["farm", "gate", *revisions, *options])
    rates = error_rates.error_rates(stored(campaign.engine, limit=100_000))
    remarks = advisory(rates, {one.device for one in verdicts})
    if gate.injected is not None:
        print(error_rates.text(rates), end="\n\n")
    print(verdict_report.text(verdicts), "", f"{joint}: {verdict_report.MEANING[joint]}", sep="\n")
    print(*remarks, sep="\n", end="\n" if remarks else "")
    if args.markdown:
        args.markdown.write_text(verdict_report.markdown(verdicts, reproduce, remarks))
    if args.json:
        about = {"run": campaign.run, "seed": gate.seed, "reproduce": reproduce, "advice": remarks}
        about |= {"baseline": gate.arms.baseline.hash, "candidate": gate.arms.candidate.hash}
        args.json.write_text(json.dumps(verdict_report.document(verdicts, **about)) + "\n")
    if joint == "invalid":
        return 3
    return 0 if remarks else EXIT_CODES[joint]
