"""Judge a commit against another: pass, regress or inconclusive.

Both builds are measured now, in pairs of fresh processes, with this farm's harness.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from db import queries
from farm.campaign import campaign as measuring
from farm.campaign.campaign import Campaign
from farm.campaign.gate import Gate, judged, reached, usual
from farm.campaign.look_first import look_first
from farm.commands._arguments import add_dry_run, add_json_report, add_measuring, patience
from farm.judge.cell_gate import SeriesVerdict, outcome
from farm.judge.pairs import Arms
from farm.judge.verdict import EXIT_CODES, Outcome
from farm.plan import builds, inventory
from farm.plan import suite as suites
from farm.plan.inventory import Inventory
from farm.plan.rounds import exact
from farm.plan.slowed import injected
from farm.plan.suite import Injection, Suite
from farm.report import error_rates, machine_load
from farm.report import gate as verdict_report
from farm.report.commit_line import SHORT
from farm.report.error_rates import advisory
from farm.report.table import counted
from worker.job import Build

INTERRUPTED = "what was measured is kept; a gate begins anew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="BASE", help="revision to compare with")
    parser.add_argument("head", metavar="HEAD", nargs="?", help="default: the subject as on disk")
    add_measuring(parser, "gate")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a report for people")
    add_json_report(parser)
    parser.add_argument("--seed", type=int, help="draws the order in the pairs (default: random)")
    parser.add_argument(
        "--identical", action="store_true", help="measure identical builds too, as A/A data"
    )
    add_dry_run(parser)


def main(args: argparse.Namespace) -> int:
    known = inventory.load(args.inventory)
    suite = suites.load(args.suite)
    gate = _gate(args, known, suite)
    with measuring.campaign(known, args.db, "gate", args.suite, suite.deadline) as campaign:
        return _judge(args, known, gate, campaign)


def _judge(args: argparse.Namespace, known: Inventory, gate: Gate, campaign: Campaign) -> int:
    if args.dry_run:
        print(_plan(gate, campaign))
        return 0
    if not gate.identical:
        _say_first(args, known, gate, campaign)
    verdicts = []
    for series in [] if gate.identical else judged(gate, campaign):
        print(verdict_report.line(series), file=sys.stderr)
        verdicts.append(series)
    return _tell(verdicts, gate, campaign, args)


def _say_first(args: argparse.Namespace, known: Inventory, gate: Gate, campaign: Campaign) -> None:
    """Tell what would spoil speeds, and how long it will take."""
    if not all(map(exact, gate.cells)):
        look_first(known, gate.hosts, campaign.tell, patience=patience(args))
    jobs = [(cell, host) for host in gate.hosts for cell in usual(gate.cells, gate.at_least)]
    cells, hosts = counted(len(gate.cells), "cell"), counted(len(gate.hosts), "host")
    campaign.expect(f"{cells} on {hosts}", jobs)


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
    if gate.identical:
        return _same(gate)
    for host in gate.hosts:
        campaign.forecast.plan(host, usual(gate.cells, gate.at_least))
    minutes = campaign.forecast.left / 60
    lines = [
        f"{host}: {cell.benchmark} {cell.params}" for host in gate.hosts for cell in gate.cells
    ]
    return "\n".join(
        [
            f"baseline {gate.arms.baseline.hash}, candidate {gate.arms.candidate.hash}",
            *_changes(gate),
            *lines,
            f"time: about {minutes:.0f} minutes, a guess where a cell was never measured",
            "pairs: 10 to 60 of a speed, twice where one regresses, 2 of bytes and quality",
        ]
    )


def _same(gate: Gate) -> str:
    same = f"Both are build {gate.arms.baseline.hash}, nothing to measure"
    return f"{same}; --identical makes it A/A data."


def _changes(gate: Gate) -> list[str]:
    candidate = gate.arms.candidate
    if not candidate.dirty:
        return []
    told = f"The candidate is the working tree with uncommitted changes, build {candidate.hash}"
    return [f"{told}: it can be repeated only while they are there."]


def _tell(
    verdicts: Sequence[SeriesVerdict], gate: Gate, campaign: Campaign, args: argparse.Namespace
) -> int:
    joint = "pass" if gate.identical else outcome(verdicts)
    rates = queries.gate_tallies(campaign.engine)
    advice = advisory(rates, {one.device for one in verdicts})
    remarks = [*advice, *_changes(gate), *([_same(gate)] if gate.identical else [])]
    load = machine_load.lines(campaign.loads)
    if gate.injected is not None:
        print(error_rates.text(rates), end="\n\n")
    if verdicts:
        print(verdict_report.text(verdicts), end="\n\n")
    print(f"{joint}: {verdict_report.meaning(joint, verdicts)}", *remarks, *load, sep="\n")
    _write(joint, verdicts, gate, campaign, args, remarks)
    if joint == "invalid":
        return 3
    return 0 if advice else EXIT_CODES[joint]


def _write(
    joint: Outcome,
    verdicts: Sequence[SeriesVerdict],
    gate: Gate,
    campaign: Campaign,
    args: argparse.Namespace,
    remarks: Sequence[str],
) -> None:
    """Write the reports that were asked for."""
    reproduce = _command(gate, args)
    if args.markdown:
        told = [*remarks, *machine_load.lines(campaign.loads)]
        args.markdown.write_text(verdict_report.markdown(joint, verdicts, reproduce, told))
    if args.json:
        about = {"run": campaign.run, "seed": gate.seed, "reproduce": reproduce, "advice": remarks}
        about["load"] = machine_load.document(campaign.loads)
        about |= {"baseline": gate.arms.baseline.hash, "candidate": gate.arms.candidate.hash}
        args.json.write_text(json.dumps(verdict_report.document(joint, verdicts, **about)) + "\n")


def _command(gate: Gate, args: argparse.Namespace) -> str:
    """Return the command that repeats a gate, with the commits themselves for any HEAD~1."""
    commits = [gate.arms.baseline.commit, gate.arms.candidate.commit if args.head else None]
    revisions = [commit[:SHORT] for commit in commits if commit]
    hosts = [word for host in args.host for word in ("--host", host)]
    identical = ["--identical"] if args.identical else []
    options = ["--suite", args.suite, *hosts, *identical, "--seed", str(gate.seed)]
    return shlex.join(["farm", "gate", *revisions, *options])
