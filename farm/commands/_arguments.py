"""Options that commands share, and kinds of arguments, each of which refuses what it is not."""

from __future__ import annotations

import argparse
from pathlib import Path

from farm.campaign.look_first import PATIENCE
from farm.plan import inventory

LAST_PORT = 65535
#: What a user wants to know after an interrupt, where the same command goes on.
RESUMES = "what was measured is kept; the same command measures the rest"


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return number


def port(text: str) -> int:
    """Return a number that a server can listen at."""
    if not (text.isdecimal() and 0 < int(text) <= LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to {LAST_PORT}")
    return int(text)


def positive(text: str) -> float:
    """Return a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def tolerance(text: str) -> float:
    """Return a relative tolerance, at least 0 and below 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return number


def add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", help="database file (default: as the inventory says)")


def add_inventory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--inventory", type=Path, default=inventory.FILE, help="default: %(default)s"
    )


def add_measuring(parser: argparse.ArgumentParser, suite: str) -> None:
    """Add what commands that measure share: a suite with this default, where, and how patiently."""
    parser.add_argument("--suite", default=suite, help="name or YAML file (default: %(default)s)")
    parser.add_argument(
        "--host", action="append", default=[], help="only this host; may be repeated"
    )
    add_place(parser)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add what every command that measures takes: where figures go, and how patient it is."""
    add_database(parser)
    add_inventory(parser)
    parser.add_argument(
        "--anyway", action="store_true", help="begin at once, even on a busy or throttled machine"
    )


def add_repetitions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repetitions", type=count, default=1, help="processes a cell (default: 1)"
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show the plan, measure nothing")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def patience(args: argparse.Namespace) -> float:
    """Return how many seconds to wait for a busy machine before anything is measured."""
    return 0.0 if args.anyway else PATIENCE


def add_json_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a report for programs")


def add_direction(parser: argparse.ArgumentParser) -> None:
    """Add which way is better of recorded figures: ``better``, None where nobody says."""
    group = parser.add_mutually_exclusive_group()
    for better, example in (("lower", "seconds or bytes"), ("higher", "tokens a second")):
        group.add_argument(
            f"--{better}-is-better",
            dest="better",
            action="store_const",
            const=better,
            help=f"of recorded figures: e.g. {example}",
        )
